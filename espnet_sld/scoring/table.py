"""Table 1's layout: objectives × sets over seeds, and the contrasts that were declared beforehand."""

import statistics
from collections.abc import Sequence
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.scoring.contrasts import judge
from espnet_sld.scoring.environment import code_words
from espnet_sld.scoring.markdown import counted, markdown_table, number
from espnet_sld.scoring.runs import Runs
from espnet_sld.scoring.significance import compare_methods

# Numbers and names of the SLD paper's Table 1; the last two are this project's controls.
LABELS = {
    "none": ("i", "loss masking"),
    "ce": ("ii", "multimodal cross entropy"),
    "label_smoothing": ("iii", "label smoothing"),
    "kl": ("iv", "smoothed-label KL"),
    "sld": ("v", "SLD"),
    "matched": ("", "matched smoothing (control)"),
    "ce_weighted": ("", "weighted cross entropy (control)"),
}


def parse_contrasts(text: str, rows: Sequence[str]) -> list[tuple[str, str]]:
    """`sld:none,sld:ce` → [("sld", "none"), ("sld", "ce")]. Raises InputError for what is not a row."""
    contrasts = []
    for item in filter(None, text.split(",")):
        first, separator, second = item.partition(":")
        if not separator or first not in rows or second not in rows or first == second:
            raise InputError(
                f"--contrasts '{item}': expected two different rows of {', '.join(rows)} as first:second"
            )
        contrasts.append((first, second))
    return contrasts


def build_table(
    runs: Runs,
    rows: Sequence[str],
    sets: Sequence[str],
    contrasts: Sequence[tuple[str, str]],
    contrast_sets: Sequence[str],
    *,
    margin: float = 0.5,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the rendered table says, as JSON values. WER in percent, ΔWER in percentage points.

    Contrasts use the seeds that both rows share; Holm's correction runs over the contrasts of one set.
    """
    table: dict[str, Any] = {
        "rows": {row: {name: _cell(runs, row, name) for name in sets} for row in rows},
        "parameters": {row: _parameters(runs, row, sets) for row in rows},
        "git": runs.revisions(),
        "settings": {
            "margin": margin,
            "resamples": resamples,
            "seed": seed,
            "contrast_sets": list(contrast_sets),
        },
        "contrasts": [],
    }
    for name in contrast_sets:
        entries = [_contrast(runs, *pair, name, resamples=resamples, seed=seed) for pair in contrasts]
        judge(entries, margin)
        table["contrasts"] += entries
    return table


def render_table(table: dict[str, Any]) -> str:
    """The table as markdown: mean ± standard deviation over seeds, then the contrasts with what they mean."""
    parts = [_render_rows(table), _render_gaps(table)]
    if table["contrasts"]:
        parts += ["## Contrasts, declared beforehand", _render_contrasts(table), _explanation(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(runs: Runs, row: str, name: str) -> dict[str, Any]:
    done = runs.scored[row, name]
    wers = [done[seed].wer for seed in sorted(done)]
    return {
        "seeds": sorted(done),
        "wer": wers,
        "mean": statistics.fmean(wers) if wers else None,
        "sd": statistics.stdev(wers) if len(wers) > 1 else None,
        "missing_seeds": runs.missing[row, name],
    }


def _parameters(runs: Runs, row: str, sets: Sequence[str]) -> list[int]:
    counts = {run.n_params for name in sets for run in runs.scored[row, name].values()}
    return sorted(count for count in counts if count is not None)


def _contrast(runs: Runs, first: str, second: str, name: str, *, resamples: int, seed: int) -> dict[str, Any]:
    seeds = runs.shared_seeds(first, second, name)
    entry = {
        "set": name,
        "first": first,
        "second": second,
        "seeds": seeds,
        "difference": None,
        "p_holm": None,
    }
    if len(seeds) < 2:
        return {**entry, "verdict": f"not tested: {len(seeds)} shared seed{'s' if len(seeds) != 1 else ''}"}
    entry["difference"] = compare_methods(
        runs.errors(first, name, seeds),
        runs.errors(second, name, seeds),
        runs.words[name],
        resamples=resamples,
        seed=seed,
    )
    return entry


def _render_rows(table: dict[str, Any]) -> str:
    sets = list(next(iter(table["rows"].values())))
    body = []
    for row, cells in table["rows"].items():
        numeral, label = LABELS.get(row, ("", row))
        counts = {len(cell["seeds"]) for cell in cells.values()}
        seeds = str(max(counts)) if len(counts) == 1 else f"{min(counts)}–{max(counts)}"
        body.append((numeral, f"`{row}`", label, seeds, *map(_wer, cells.values())))
    header = ("", "objective", "what", "seeds", *(f"{name} WER %" for name in sets))
    note = "WER in percent, mean ± standard deviation over the seeds."
    parameters = sorted({count for counts in table["parameters"].values() for count in counts})
    if parameters:
        note += f" Parameters: {' or '.join(map(counted, parameters))}."
    note = f"{note} {code_words(table['git'])}".rstrip()
    return f"{markdown_table(header, body, left=3)}\n\n{note}"


def _wer(cell: dict[str, Any]) -> str:
    if cell["mean"] is None:
        return "–"
    return number(cell["mean"]) + (f" ± {number(cell['sd'])}" if cell["sd"] is not None else "")


def _render_gaps(table: dict[str, Any]) -> str:
    """Says which rows lack runs, so that a half-finished table is not taken for a whole one."""
    lines = []
    for row, cells in table["rows"].items():
        if not any(cell["seeds"] or cell["missing_seeds"] for cell in cells.values()):
            lines.append(f"- `{row}`: no run")
            continue
        for name, cell in cells.items():
            if cell["missing_seeds"]:
                seeds = ", ".join(map(str, cell["missing_seeds"]))
                lines.append(
                    f"- `{row}`, {name}: {len(cell['missing_seeds'])} without a result (seed {seeds})"
                )
            elif not cell["seeds"]:
                lines.append(f"- `{row}`, {name}: no run")
    return "Incomplete:\n\n" + "\n".join(lines) if lines else ""


def _render_contrasts(table: dict[str, Any]) -> str:
    body = []
    for entry in table["contrasts"]:
        names = (entry["set"], f"{entry['first']} – {entry['second']}", len(entry["seeds"]))
        difference = entry["difference"]
        if difference is None:
            body.append((*names, "–", "–", "–", "–", entry["verdict"]))
            continue
        bound = "≤ " if difference["p_is_bound"] else ""
        low, high = difference["interval95"]
        body.append(
            (
                *names,
                f"{difference['delta']:+.2f}",
                f"[{low:+.2f}, {high:+.2f}]",
                f"{bound}{difference['p']:.4f}",
                f"{bound}{entry['p_holm']:.4f}",
                entry["verdict"],
            )
        )
    header = ("set", "contrast", "seeds", "ΔWER", "95 % interval", "p", "Holm p", "verdict on the first")
    return markdown_table(header, body, left=2)


def _explanation(table: dict[str, Any]) -> str:
    settings = table["settings"]
    return (
        "ΔWER: first minus second, percentage points; negative, the first is better. These are statements "
        "about methods: a two-level bootstrap resamples seeds (paired: both rows share them) and sentences "
        f"(the same for all runs), {settings['resamples']} times; intervals are widened for the small number "
        "of seeds. Holm's correction runs over the contrasts of one set; "
        f"`{settings['contrast_sets'][0]}` decides, other sets support. Equivalent within "
        f"{settings['margin']:g}: the 90 % interval (two one-sided tests at 5 %, not corrected) lies within "
        "that margin. Undecided: neither a difference nor equivalence is shown."
    )
