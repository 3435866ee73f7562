"""Training curves: loss parts over epochs as in Fig. 3 of arXiv 2311.04534, learning rate, throughput."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.ctc_table import ROWS
from espnet_sld.scoring.curve_table import label
from espnet_sld.scoring.curves import Curve, final_and_best, mean_curve
from espnet_sld.scoring.plots import ACCURACIES
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.charts import COLOURS, Line, legend, line_chart
from espnet_sld.scoring.report.experiment import Experiment
from espnet_sld.scoring.report.parts import NAMES, ORDER, SPEED, only_logged, ordered, weights
from espnet_sld.scoring.run_info import dev_masked
from espnet_sld.scoring.table import LABELS

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
    losses = [part for part in ordered(experiment, (*train, *valid)) if not _never(part, train, valid)]
    drawn = [part for part in losses if not only_logged(experiment, part)]
    weight = weights(experiment)
    unit = "epoch" if each else "optimiser step"
    charts = []
    for part in drawn:
        lines = []
        if part in train:
            curve = _without_empty(part, train[part], train)
            lines.append(_line("training", curve, each, 1, thin=True, markers=False))
        if part in valid:
            lines.append(_line("development", valid[part], each, 0))
        name, _, of = NAMES.get(part, part).removesuffix(")").partition(" (")
        said = ", ".join(filter(None, [of, f"weight {weight[part]:.3g}" if part in weight else ""]))
        charts.append(line_chart(name, lines, x_label=unit, y_label=said))
    speed = [
        line_chart(
            title, [_line("training", train[part], each, 2, markers=False)], x_label=unit, zero=part != "lr"
        )
        for part, title in SPEED.items()
        if part in train and (part != "skipped_steps" or train[part].values.any())
    ]
    entries = [("development", 0, "solid"), (f"training ({_as_trained(experiment)})", 1, "thin")]
    note = " ".join([_masking(experiment), *_explained(experiment, losses, drawn)])
    return markup.section(
        "curves",
        "Training",
        markup.paragraph(note, "note"),
        legend(entries),
        f"<div class=charts>{''.join(charts)}</div>",
        _table(losses, valid, each, unit, {part for part in losses if part not in drawn}),
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
    rank = {name: place for place, name in enumerate((*LABELS, *ROWS))}
    order = sorted(groups, key=lambda name: (rank.get(_row(name), len(rank)), -len(groups[name]), name))
    if len(order) > GROUPS:  # runs over seeds say more than single ones
        order.sort(key=lambda name: len(groups[name]) == 1)
    drawn = order[:GROUPS]
    colours = _colours([_row(name) for name in drawn])
    charts = []
    shown = [one for name in drawn for one in groups[name]]
    for part in _common_parts(shown):
        lines = [
            line
            for name, colour in zip(drawn, colours, strict=True)
            for line in _group_lines(groups[name], part, colour)
        ]
        if lines:
            last = max(line.x[-1] for line in lines)
            charts.append(line_chart(NAMES[part], lines, x_label="epoch"))
            late = [line for line in (_since(line, last / 2) for line in lines) if len(line.x) > 1]
            if late and max(len(line.x) for line in lines) >= ENLARGED:
                charts.append(line_chart(NAMES[part], late, x_label="epoch", y_label="last half, enlarged"))
    named = []
    for name, colour in zip(drawn, colours, strict=True):
        seeds = f" ({len(groups[name])} seeds)" if len(groups[name]) > 1 else ""
        named.append((label(_row(name)) + seeds, colour, "solid"))
    masked = sorted({words for one in experiments if one.curves.get("valid") for words in [_masking(one)]})
    left = [_row(name) for name in order if name not in drawn]
    note = f"Development set. Thick: mean over seeds; thin: single runs. {' '.join(filter(None, masked))}"
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
    fixed = {row: place for names in (ROWS, LABELS) for place, row in enumerate(names)}
    free = [place for place in range(COLOURS) if place not in {fixed[row] for row in rows if row in fixed}]
    others = iter(free * len(rows))
    return [fixed[row] if row in fixed else next(others) for row in rows]


def _common_parts(experiments: Sequence[Experiment]) -> list[str]:
    """Figures to draw for several experiments; not the loss, whose parts differ between objectives."""
    found = {part for one in experiments for part in one.curves["valid"] if not only_logged(one, part)}
    always = {"infeasible"}  # a count for one experiment's page
    known = dict.fromkeys(part for order in ORDER.values() for part in order)
    return [part for part in known if part in found - {"loss"} - always]


def _group_lines(members: Sequence[Experiment], part: str, colour: int) -> list[Line]:
    """Runs of one group, thin where there are several, and their mean."""
    runs = [one for one in members if part in one.curves["valid"] and not only_logged(one, part)]
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


def _never(part: str, train: Mapping[str, Curve], valid: Mapping[str, Curve]) -> bool:
    """A count of something that never happened."""
    curves = [curves[part] for curves in (train, valid) if part in curves]
    return part == "infeasible" and not any(curve.values.any() for curve in curves)


def _without_empty(part: str, curve: Curve, train: Mapping[str, Curve]) -> Curve:
    """NaN, a gap, where no target of the modality was in the steps that a point is the mean of.

    Training writes 0 there; a cross entropy of exactly 0 is nothing else.
    """
    figure, _, modality = part.partition("_")
    entropy = train.get(f"ce_{modality}")
    if figure not in ("ce", "acc") or entropy is None or not np.array_equal(entropy.steps, curve.steps):
        return curve
    return Curve(curve.steps, np.where(entropy.values == 0, np.nan, curve.values))


def _as_trained(experiment: Experiment) -> str:
    config = experiment.config
    if experiment.system == "ctc":
        augmented = config.get("specaug") not in (None, "none")
        return f"as trained: with {'SpecAugment and ' if augmented else ''}dropout"
    changed = ["masked"] if config.get("time_mask_prob") else []
    if any(config.get(key) for key in ("dropout", "attention_dropout", "residual_dropout")):
        changed.append("with dropout")
    return f"as trained: {', '.join(changed)}" if changed else "as trained"


def _explained(experiment: Experiment, losses: Sequence[str], drawn: Sequence[str]) -> list[str]:
    """What the charts leave out, and what cannot be compared in them."""
    said = []
    if weights(experiment):
        said.append("Weight: of a part in the loss.")
    if left := [NAMES.get(part, part) for part in losses if part not in drawn]:
        said.append(f"Only logged, not part of the loss, and so only in the table: {', '.join(left)}.")
    config = experiment.config
    if experiment.system == "ctc" and config.get("soft_labels") and {"aed", "ctc_kd"} & set(losses):
        said.append(
            "In training the teacher's soft labels are part of the targets, on the development set they are "
            "not: the two lines of a part that is taught are of different losses."
        )
    if experiment.system == "dmlm" and "ce_image" in drawn:
        said.append("A training point is a mean over steps; steps without a target of a modality count as 0.")
    return said


def _masking(experiment: Experiment) -> str:
    if experiment.system == "ctc":
        return ""
    if share := dev_masked(experiment.config):
        return (
            f"Inputs of the development loss are masked with probability {share:g}, as in the released code."
        )
    return "Inputs of the development loss are not masked."


def _table(
    parts: Sequence[str], valid: Mapping[str, Curve], each: int | None, unit: str, logged: set[str]
) -> str:
    rows = []
    for part in parts:
        if part not in valid:
            continue
        values = final_and_best(valid[part], part.startswith(ACCURACIES))
        at = values["best_step"] / (each or 1)
        rows.append(
            (
                markup.text(NAMES.get(part, part) + (", only logged" if part in logged else "")),
                (f"{values['final']:.4g}", values["final"]),
                (f"{values['best']:.4g}", values["best"]),
                (f"{at:g}", at),
            )
        )
    header = ("development", "last", "best", f"at {unit}")
    return markup.table(header, rows, caption="Last and best value on the development set") if rows else ""
