"""Table 1 of the SLD paper with our figures beside its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from espnet_sld.scoring.contrasts import contrast_rows, explain_contrasts, render_contrasts
from espnet_sld.scoring.environment import code_words
from espnet_sld.scoring.markdown import markdown_table, number
from espnet_sld.scoring.published import GROUPS, REFERENCES, SETS, SIGNIFICANT, TABLE1, TWO_RUNS
from espnet_sld.scoring.runs import Runs
from espnet_sld.scoring.study import NOT_RUN, cell, choice_words, count_words, seeds_of, wer_words
from espnet_sld.scoring.table import LABELS

CONTRASTS = tuple(SIGNIFICANT)


def no_runs(group: str) -> Runs:
    """Of a front-end that was not run."""
    cells = [(row, name) for row in TABLE1[group] for name in SETS]
    return Runs({place: {} for place in cells}, {place: [] for place in cells}, {})


def build_paper_table(
    groups: Mapping[str, Runs],
    *,
    chosen_by: Mapping[str, Mapping[str, str]] | None = None,
    margin: float = 0.1,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the rendered table says, as JSON values.

    Args:
        groups: `wavlm` and `hubert` → runs read with rows = TABLE1's objectives and sets = SETS.
        chosen_by: group → row → what its models were chosen by.
        margin: of equivalence, points; by default what two runs of one method differ by in the paper.
    """
    table: dict[str, Any] = {
        "groups": {},
        "settings": {"margin": margin, "resamples": resamples, "seed": seed},
    }
    for group, runs in groups.items():
        rows = [
            {
                "name": row,
                "paper": dict(zip(SETS, published, strict=True)),
                "chosen_by": (chosen_by or {}).get(group, {}).get(row),
                "sets": {name: cell(runs, row, name) for name in SETS},
            }
            for row, published in TABLE1[group].items()
        ]
        contrasts = []
        for name in SETS:
            entries = contrast_rows(runs, CONTRASTS, name, margin=margin, resamples=resamples, seed=seed)
            for entry in entries:
                entry["paper_significant"] = name in SIGNIFICANT[entry["first"], entry["second"]]
            contrasts += entries
        table["groups"][group] = {"rows": rows, "contrasts": contrasts, "spread": _spread(rows)}
    table["git"] = sorted({revision for runs in groups.values() for revision in runs.revisions()})
    return table


def render_paper_table(table: Mapping[str, Any]) -> str:
    """The table as markdown: the paper's WER, ours, and the counts behind ours, for every set."""
    parts = [
        "# Table 1 of arXiv 2311.04534, and ours",
        "WER in percent. *paper*: as published; *ours*: runs of this toolkit, mean ± standard deviation over "
        f"seeds where there are several; {NOT_RUN}: there is no run, and no figure stands in for it.",
    ]
    for group, content in table["groups"].items():
        parts += [f"## {GROUPS[group]}", _render_rows(content["rows"])]
        if any(values["seeds"] for row in content["rows"] for values in row["sets"].values()):
            parts.append(choice_words(content["rows"], values_compared=False))
        parts.append(_spread_words(content["spread"]))
        tested = [entry for entry in content["contrasts"] if entry["difference"] is not None]
        if tested:
            settings = table["settings"]
            parts += [
                render_contrasts(content["contrasts"]),
                explain_contrasts(tested, margin=settings["margin"], resamples=settings["resamples"]),
                _agreement(content["contrasts"]),
            ]
        else:
            parts.append("No contrast can be tested yet: `sld` needs a seed in common with `none` or `ce`.")
    parts += ["## Other published systems", _render_references()]
    parts.append(code_words(table["git"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _render_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ["", "objective", "what", "seeds"]
    header += [heading for name in SETS for heading in (f"{name}: paper", "ours", "errors of words")]
    body = []
    for row in rows:
        seeds = seeds_of(row["sets"].values())
        numeral, what = LABELS[row["name"]]
        line = [numeral, f"`{row['name']}`", what, ", ".join(map(str, seeds)) or "–"]
        for name in SETS:
            values = row["sets"][name]
            line += [number(row["paper"][name], 1), wer_words(values), count_words(values)]
        body.append(line)
    return markdown_table(header, body, left=3)


def _spread(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The largest difference of two seeds of `sld` on any set, points; None with fewer than two."""
    wers = [values["wer"] for row in rows if row["name"] == "sld" for values in row["sets"].values()]
    return max((max(several) - min(several) for several in wers if len(several) > 1), default=None)


def _spread_words(spread: float | None) -> str:
    if spread is None:
        return ""
    return (
        f"Seeds of `sld` differ by up to {spread:.2f} points on a set "
        f"(the paper: two runs, less than {TWO_RUNS:g})."
    )


def _agreement(contrasts: Sequence[Mapping[str, Any]]) -> str:
    """Which published significances are found again here."""
    lines = []
    for pair in CONTRASTS:
        published = ", ".join(SIGNIFICANT[pair])
        entries = [entry for entry in contrasts if (entry["first"], entry["second"]) == pair]
        ours = [entry["set"] for entry in entries if entry["verdict"].startswith("better")]
        tested = [entry["set"] for entry in entries if entry["difference"] is not None]
        found = (", ".join(ours) or "no set") if tested else "not tested"
        lines.append(
            f"- `{pair[0]}` better than `{pair[1]}`: paper (t-tests) on {published}; ours on {found}"
        )
    return "\n".join(lines)


def _render_references() -> str:
    rows = [(name, source, *(number(wer, 1) for wer in wers)) for name, source, wers in REFERENCES]
    return markdown_table(("system", "source", *SETS), rows, left=2)
