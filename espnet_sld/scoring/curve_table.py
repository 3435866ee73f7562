"""Loss curves in words and panels: which runs share a plot, final and best values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from espnet_sld.scoring.curves import Curve, RunCurves, final_and_best
from espnet_sld.scoring.markdown import markdown_table
from espnet_sld.scoring.plots import ACCURACIES, PART_NAMES
from espnet_sld.scoring.study import MASKED, NOT_RUN, SWEEPS
from espnet_sld.scoring.table import LABELS

Panel = tuple[str, str, Mapping[str, list[Curve]]]  # part, what the panel shows, row → curves
AllRuns = Mapping[str, Mapping[int, RunCurves]]


def row_labels(rows: Sequence[str]) -> dict[str, str]:
    """Row → name in a legend; runs with a masked dev loss share the name (and colour) of those without."""
    return {base_row(row): label(base_row(row)) for row in rows}


def base_row(row: str) -> str:
    """The row's name without what marks a masked dev loss."""
    return row.removesuffix(MASKED)


def label(row: str) -> str:
    """`sld` → `v SLD`, `sld_alpha0.8` → `SLD, α = 0.8`; other names stay."""
    for sweep in SWEEPS.values():
        if row.startswith(start := f"sld_{sweep.option}"):
            return f"SLD, {sweep.symbol} = {row.removeprefix(start)}"
    return " ".join(LABELS.get(row, ("", row))).strip()


def panels_of(runs: AllRuns, parts: Sequence[str], phase: str) -> list[Panel]:
    """A panel for every part and every way in which the loss was computed (set, masked inputs or not)."""
    panels: list[Panel] = []
    for part in parts:
        grouped: dict[str, dict[str, list[Curve]]] = {}
        for row, seeds in runs.items():
            for run in seeds.values():
                where = grouped.setdefault(described(run, phase), {})
                where.setdefault(base_row(row), []).append(run.curves[part])
        panels += [(part, where, rows) for where, rows in grouped.items()]
    return panels


def described(run: RunCurves, phase: str) -> str:
    """On what the loss of this run was computed."""
    if phase == "train":
        return "training set, inputs as trained"
    masked = run.info.dev_masked
    inputs = (
        f"inputs masked with probability {masked:g}, as the released code" if masked else "inputs unmasked"
    )
    return f"{run.info.dev_set or 'dev set'}, {inputs}"


def render_curves(runs: AllRuns, panels: Sequence[Panel], title: str) -> str:
    """Final and best value of every run; the runs that are missing."""
    parts = [f"# {title}"]
    for part, where, rows in panels:
        larger = part.startswith(ACCURACIES)
        body = []
        for row, curves in rows.items():
            for curve in curves:
                values = final_and_best(curve, larger)
                body.append(
                    (label(row), _short(values["final"]), values["last_step"], _short(values["best"]),
                     values["best_step"])
                )  # fmt: skip
        header = ("row", "last", "at step", "largest" if larger else "smallest", "at step")
        parts += [f"## {PART_NAMES.get(part, part)}: {where}", markdown_table(header, body)]
    counts = {row: len(seeds) for row, seeds in runs.items()}
    if absent := [row for row, count in counts.items() if not count]:
        parts.append("\n".join(f"- `{row}`: {NOT_RUN}" for row in absent))
    if 1 in counts.values():
        parts.append(
            "A row with one run is a statement about that training, not about the objective: curves of other "
            "seeds would differ."
        )
    if any(run.info.dev_masked for seeds in runs.values() for run in seeds.values()):
        parts.append(
            "With masked inputs the dev loss is a noisy one of a harder task: not comparable with the "
            "unmasked loss."
        )
    return "\n\n".join(parts) + "\n"


def curve_points(runs: AllRuns) -> dict[str, Any]:
    """Every point as JSON values: row → seed → figure → {steps, values}, and what the dev loss was."""
    return {
        row: {
            str(seed): {
                "dev_set": run.info.dev_set,
                "dev_masked": run.info.dev_masked,
                "curves": {
                    part: {
                        "steps": curve.steps.tolist(),
                        # JSON has no NaN
                        "values": [
                            value if math.isfinite(value) else None for value in curve.values.tolist()
                        ],
                    }
                    for part, curve in run.curves.items()
                },
            }
            for seed, run in seeds.items()
        }
        for row, seeds in runs.items()
    }


def _short(value: float) -> str:
    return f"{value:.4g}"
