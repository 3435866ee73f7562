"""A study: which runs it needs, and its table. The SLD paper's Fig. 2 (α), and one it lacks (T)."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.scoring.contrasts import contrast_parts, contrast_rows
from espnet_sld.scoring.environment import code_words
from espnet_sld.scoring.markdown import markdown_table, number
from espnet_sld.scoring.runs import Runs
from espnet_sld.scoring.table import LABELS

NOT_RUN = "not run"
MASKED = "_maskdev"  # ends the names of runs whose dev loss has masked inputs


@dataclass(frozen=True)
class Sweep:
    """One option of the criterion that is varied under the objective `sld`."""

    option: str  # of criterion_conf
    symbol: str
    default: float  # the paper's
    values: tuple[str, ...]
    title: str


SWEEPS = {
    "alpha": Sweep(
        "alpha", "α", 0.008, ("0.0008", "0.008", "0.08", "0.8"), "Weight of the KL (arXiv 2311.04534, Fig. 2)"
    ),
    "temperature": Sweep(
        "temperature", "T", 1.0, ("1", "0.3", "0.1", "0.05"), "Temperature of the smoothed label (Eq. 5)"
    ),
}
OBJECTIVES = ("none", "ce", "label_smoothing", "kl", "sld")  # Table 1's rows i–v
CONTROLS = ("matched", "ce_weighted")  # this project's; they have no configuration of their own


@dataclass(frozen=True)
class Row:
    """One line of a study: what its runs are called and how they are trained."""

    name: str
    objective: str
    value: float | None = None  # of the swept option; None: not part of the sweep
    options: tuple[str, ...] = ()  # for espnet_sld.bin.train

    @property
    def label(self) -> str:
        """For plots and tables: numeral and name of Table 1, if it is one of its rows."""
        numeral, what = LABELS.get(self.objective, ("", self.objective))
        return f"{numeral} {what}".strip()


def plan_rows(
    study: str,
    values: Sequence[str] = (),
    *,
    criterion_conf: Mapping[str, Any] | None = None,
    reference: str | None = "none",
    masked: bool = False,
) -> list[Row]:
    """The rows of a study, the reference first.

    A run whose swept value is the configuration's own is called `sld`, in every study: it is trained once.

    Args:
        study: `alpha`, `temperature` or `table`.
        values: what is tried: numbers, or for `table` objectives; () = the paper's.
        criterion_conf: that of the configuration, for its own α and T.
        reference: objective that a sweep is compared with; None = no such row.
        masked: the dev loss has masked inputs, as in the released code.

    Raises:
        InputError: an unknown study or objective, or a value that is no positive number or comes twice.
    """
    tail, common = (MASKED, ("--mask_dev", "true")) if masked else ("", ())
    if study == "table":
        objectives = list(values or OBJECTIVES)
        if unknown := [name for name in objectives if name not in LABELS]:
            raise InputError(f"--values {unknown[0]}: no such objective; there are: {', '.join(LABELS)}")
        _refuse_repeats(objectives)
        return [Row(name + tail, name, options=common) for name in objectives]
    if study not in SWEEPS:
        raise InputError(f"--study {study}: must be {', '.join(SWEEPS)} or table")
    sweep, rows = SWEEPS[study], []
    own = float((criterion_conf or {}).get(sweep.option, sweep.default))
    if reference is not None:
        if reference not in LABELS or reference == "sld":
            raise InputError(f"--reference {reference}: must be an objective other than sld")
        rows.append(Row(reference + tail, reference, options=common))
    for text in values or sweep.values:
        value = _positive(text)
        if value == own:
            rows.append(Row("sld" + tail, "sld", value, common))
        else:
            name, option = f"sld_{sweep.option}{value:g}", f"{sweep.option}={value:g}"
            rows.append(Row(name + tail, "sld", value, (*common, "--criterion_conf", option)))
    _refuse_repeats([row.name for row in rows])
    return rows


def build_study(
    runs: Runs,
    rows: Sequence[Row],
    sets: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    *,
    chosen_by: Mapping[str, str] | None = None,
    extras: Mapping[str, Mapping[str, float]] | None = None,
    margin: float = 0.5,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the rendered study says, as JSON values. WER in percent.

    Args:
        pairs: declared contrasts (first, second), by row names.
        chosen_by: row → what its models were chosen by (`valid.ce_text (min) on dev`).
        extras: row → further columns, by heading.
    """
    contrasts = []
    for name in sets:
        contrasts += contrast_rows(runs, pairs, name, margin=margin, resamples=resamples, seed=seed)
    return {
        "rows": [
            {
                "name": row.name,
                "label": row.label,
                "value": row.value,
                "extras": dict((extras or {}).get(row.name, {})),
                "chosen_by": (chosen_by or {}).get(row.name),
                "sets": {name: cell(runs, row.name, name) for name in sets},
            }
            for row in rows
        ],
        "contrasts": contrasts,
        "settings": {"margin": margin, "resamples": resamples, "seed": seed},
        "git": runs.revisions(),
    }


def cell(runs: Runs, row: str, name: str) -> dict[str, Any]:
    """WER and error counts of one row on one set, seed by seed; empty lists where nothing was run."""
    done = runs.scored[row, name]
    seeds = sorted(done)
    wers = [done[seed].wer for seed in seeds]
    return {
        "seeds": seeds,
        "wer": wers,
        "errors": [int(done[seed].errors.sum()) for seed in seeds],
        "words": int(runs.words[name].sum()) if name in runs.words else None,
        "mean": statistics.fmean(wers) if wers else None,
        "sd": statistics.stdev(wers) if len(wers) > 1 else None,
        "without_result": runs.missing[row, name],
    }


def seeds_of(cells: Iterable[Mapping[str, Any]]) -> list[int]:
    """Seeds that any of a row's cells has."""
    return sorted({seed for values in cells for seed in values["seeds"]})


def wer_words(values: Mapping[str, Any]) -> str:
    """`2.95 ± 0.04`, or that there is no run."""
    if values["mean"] is None:
        return NOT_RUN if not values["without_result"] else "not finished"
    return number(values["mean"]) + (f" ± {number(values['sd'])}" if values["sd"] is not None else "")


def count_words(values: Mapping[str, Any]) -> str:
    """The counts behind a percentage: `1550, 1562 of 52576`, one number a seed."""
    if not values["errors"]:
        return "–"
    return f"{', '.join(map(str, values['errors']))} of {values['words']}"


def render_study(study: Mapping[str, Any], *, title: str, symbol: str = "") -> str:
    """The study as markdown: figures, how models were chosen, contrasts with what they mean."""
    rows = study["rows"]
    sets = list(rows[0]["sets"])
    extras = list(dict.fromkeys(name for row in rows for name in row["extras"]))
    header = ["run", "what"] + ([symbol] if symbol else []) + extras + ["seeds"]
    header += [heading for name in sets for heading in (f"{name} WER %", "errors of words")]
    body = []
    for row in rows:
        line = [f"`{row['name']}`", row["label"]]
        if symbol:
            line.append("–" if row["value"] is None else f"{row['value']:g}")
        line += [f"{row['extras'][name]:.3g}" if name in row["extras"] else "–" for name in extras]
        seeds = seeds_of(row["sets"].values())
        line.append(", ".join(map(str, seeds)) or "–")
        for values in row["sets"].values():
            line += [wer_words(values), count_words(values)]
        body.append(line)
    parts = [
        f"# {title}",
        markdown_table(header, body, left=2),
        choice_words(rows, values_compared=bool(symbol)),
    ]
    parts += [code_words(study["git"]), *contrast_parts(study)]
    return "\n\n".join(part for part in parts if part) + "\n"


def choice_words(rows: Sequence[Mapping[str, Any]], *, values_compared: bool) -> str:
    """What the models were chosen by, and what follows for the figures in this table.

    Args:
        values_compared: the table is there to choose a value of an option.
    """
    chosen = sorted({row["chosen_by"] for row in rows if row["chosen_by"]})
    single = any(len(values["seeds"]) == 1 for row in rows for values in row["sets"].values())
    text = (
        f"Models were chosen by {' or '.join(chosen)}." if chosen else "How models were chosen is not known."
    )
    development = sorted({name for row in rows for name in row["sets"] if name.startswith("dev")})
    if development and values_compared:
        text += (
            f" Where a value is then chosen by its WER on {', '.join(development)}, that WER is that of the "
            "best of several: too good a forecast for other data."
        )
    if single:
        text += (
            " Rows with one seed are statements about one trained model each, not about the setting: what "
            "another seed would give is not known."
        )
    return text


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(f"--values {text}: expected positive numbers")
    return value


def _refuse_repeats(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"--values: {twice} comes twice; name every value once")
