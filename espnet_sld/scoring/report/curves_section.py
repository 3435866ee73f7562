"""Training curves: loss parts over epochs as in Fig. 3 of arXiv 2311.04534, learning rate, throughput."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.curve_table import label
from espnet_sld.scoring.curves import Curve, final_and_best, mean_curve
from espnet_sld.scoring.plots import ACCURACIES, PART_NAMES
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.charts import COLOURS, Line, legend, line_chart
from espnet_sld.scoring.report.experiment import Experiment
from espnet_sld.scoring.table import LABELS

SPEED = {
    "lr": "learning rate",
    "tokens_per_second": "throughput (tokens a second)",
    "padding": "padding (% of positions)",
    "grad_norm": "gradient norm",
    "mfu": "model FLOPs utilisation (%, estimated)",
    "skipped_steps": "skipped steps",
}
POINTS = 300  # most points of a line
GROUPS = 8  # most lines of a chart over experiments
ENLARGED = 6  # points from which the last half of a line is worth a chart of its own
NAMED = 3  # groups without a line that are named


def curves_section(experiment: Experiment) -> str:
    """One experiment: a chart for every loss part, training and development; then the speed."""
    if not experiment.curves:
        return ""
    train, valid = (experiment.curves.get(phase, {}) for phase in ("train", "valid"))
    each = steps_per_epoch(experiment)
    parts = [part for part in dict.fromkeys((*PART_NAMES, *train, *valid)) if part in train or part in valid]
    losses = [part for part in parts if part not in SPEED]
    unit = "epoch" if each else "optimiser step"
    charts = []
    for part in losses:
        lines = []
        if part in train:
            lines.append(_line("training", train[part], each, 1, thin=True, markers=False))
        if part in valid:
            lines.append(_line("development", valid[part], each, 0))
        charts.append(line_chart(PART_NAMES.get(part, part), lines, x_label=unit))
    speed = [
        line_chart(
            title, [_line("training", train[part], each, 2, markers=False)], x_label=unit, zero=part != "lr"
        )
        for part, title in SPEED.items()
        if part in train and (part != "skipped_steps" or train[part].values.any())
    ]
    entries = [("development", 0, "solid"), ("training (as trained: masked, with dropout)", 1, "thin")]
    return markup.section(
        "curves",
        "Training",
        markup.paragraph(_masking(experiment), "note"),
        legend(entries),
        f"<div class=charts>{''.join(charts)}</div>",
        _table(losses, valid, each, unit),
        f"<h3>Speed and steadiness</h3><div class=charts>{''.join(speed)}</div>" if speed else "",
    )


def recipe_curves(experiments: Sequence[Experiment]) -> str:
    """All experiments: development loss parts, a line for every group of seeds (its mean), runs thin."""
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        if experiment.curves.get("valid"):
            groups.setdefault(group_name(experiment.name), []).append(experiment)
    if not groups:
        return ""
    rank = {name: place for place, name in enumerate(LABELS)}
    order = sorted(groups, key=lambda name: (rank.get(_row(name), len(rank)), -len(groups[name]), name))
    if len(order) > GROUPS:  # runs over seeds say more than single ones
        order.sort(key=lambda name: len(groups[name]) == 1)
    drawn = order[:GROUPS]
    colours = _colours([_row(name) for name in drawn])
    charts = []
    for part in [part for part in PART_NAMES if part != "loss"]:  # its parts differ between objectives
        lines = [
            line
            for name, colour in zip(drawn, colours, strict=True)
            for line in _group_lines(groups[name], part, colour)
        ]
        if lines:
            last = max(line.x[-1] for line in lines)
            charts.append(line_chart(PART_NAMES[part], lines, x_label="epoch"))
            late = [line for line in (_since(line, last / 2) for line in lines) if len(line.x) > 1]
            if late and max(len(line.x) for line in lines) >= ENLARGED:
                charts.append(
                    line_chart(PART_NAMES[part], late, x_label="epoch", y_label="last half, enlarged")
                )
    named = []
    for name, colour in zip(drawn, colours, strict=True):
        seeds = f" ({len(groups[name])} seeds)" if len(groups[name]) > 1 else ""
        named.append((label(_row(name)) + seeds, colour, "solid"))
    masked = sorted({words for one in experiments if one.curves.get("valid") for words in [_masking(one)]})
    left = [_row(name) for name in order if name not in drawn]
    note = f"Development set. Thick: mean over seeds; thin: single runs. {' '.join(masked)}"
    if left:
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        note += f" Not drawn, for lack of room: {', '.join(left[:NAMED])}{more}."
    return markup.section(
        "curves",
        "Training",
        markup.paragraph(note, "note"),
        legend(named),
        f"<div class='charts pairs'>{''.join(charts)}</div>",
    )


def _colours(rows: Sequence[str]) -> list[int]:
    """A colour for each row: an objective has the same one everywhere, other rows what is left."""
    fixed = {row: place for place, row in enumerate(LABELS)}
    free = [place for place in range(COLOURS) if place not in {fixed[row] for row in rows if row in fixed}]
    others = iter(free * len(rows))
    return [fixed[row] if row in fixed else next(others) for row in rows]


def _group_lines(members: Sequence[Experiment], part: str, colour: int) -> list[Line]:
    """Runs of one group, thin where there are several, and their mean."""
    runs = [one for one in members if part in one.curves["valid"]]
    if not runs:
        return []
    each, name = steps_per_epoch(runs[0]), label(_row(group_name(runs[0].name)))
    curves = [one.curves["valid"][part] for one in runs]
    lines = []
    if len(curves) > 1:
        lines = [_line(name, curve, each, colour, thin=True, markers=False) for curve in curves]
    with contextlib.suppress(InputError):  # no step in common: the single runs stand alone
        lines.append(_line(name, mean_curve(curves), each, colour))
    return lines


def _since(line: Line, start: float) -> Line:
    """The part of a line from `start` on."""
    kept = [(x, y) for x, y in zip(line.x, line.y, strict=True) if x >= start]
    return replace(line, x=[x for x, _ in kept], y=[y for _, y in kept])


def group_name(name: str) -> str:
    """An experiment's name without its seed."""
    base, separator, seed = name.rpartition("_seed")
    return base if separator and seed.isdigit() else name


def steps_per_epoch(experiment: Experiment) -> int | None:
    """Optimiser steps of an epoch: the development loss is computed at the end of each; None if unknown."""
    for curve in experiment.curves.get("valid", {}).values():
        gaps = np.diff(np.concatenate([[0], curve.steps]))
        if len(gaps):
            return int(np.median(gaps)) or None
    return None


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """At most `points` points: means of neighbours, so that spikes are not lost without a trace."""
    if len(curve.steps) <= points:
        return curve
    steps = [part[-1] for part in np.array_split(curve.steps, points)]
    return Curve(np.array(steps), np.array([part.mean() for part in np.array_split(curve.values, points)]))


def _row(group: str) -> str:
    return group.rpartition("/")[2].removeprefix("asr_sld_")


def _line(name: str, curve: Curve, each: int | None, colour: int, **style) -> Line:
    curve = thinned(curve)
    return Line(name, (curve.steps / (each or 1)).tolist(), curve.values.tolist(), colour, **style)


def _masking(experiment: Experiment) -> str:
    config = experiment.config
    share = float(config.get("time_mask_prob") or 0.0) if config.get("mask_dev") else 0.0
    if share:
        return (
            f"Inputs of the development loss are masked with probability {share:g}, as in the released code."
        )
    return "Inputs of the development loss are not masked."


def _table(parts: Sequence[str], valid: Mapping[str, Curve], each: int | None, unit: str) -> str:
    rows = []
    for part in parts:
        if part not in valid:
            continue
        values = final_and_best(valid[part], part.startswith(ACCURACIES))
        at = values["best_step"] / (each or 1)
        rows.append(
            (
                markup.text(PART_NAMES.get(part, part)),
                (f"{values['final']:.4g}", values["final"]),
                (f"{values['best']:.4g}", values["best"]),
                (f"{at:g}", at),
            )
        )
    header = ("development", "last", "best", f"at {unit}")
    return markup.table(header, rows, caption="Last and best value on the development set") if rows else ""
