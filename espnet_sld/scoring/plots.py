"""Plots of studies as PNG and SVG: WER over a swept option (Fig. 2), loss curves (Fig. 3)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.files import atomic_write
from espnet_sld.scoring.curves import Curve, mean_curve
from espnet_sld.scoring.table import LABELS

# Okabe and Ito's palette: told apart with any colour vision; one colour an objective, in every plot.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#8C6D00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PNG_DPI = 160
ACCURACIES = "acc_"  # figures whose names begin so are shares, the larger the better
PART_NAMES = {
    "loss": "loss",
    "ce_text": "CE of text (nats a token)",
    "ce_speech": "CE of speech (nats a token)",
    "ce_smoothed": "smoothed CE of speech (nats a token)",
    "kl": "KL of speech (nats an utterance)",
    "acc_text": "accuracy on text",
    "acc_speech": "accuracy on speech",
}


def plot_sweep(
    study: Mapping[str, Any],
    path: str | os.PathLike,
    *,
    symbol: str,
    title: str,
    note: str = "",
) -> list[Path]:
    """WER over the swept value, one line a set; the reference row as a dashed line of the same colour.

    Every run is a point; the line joins means over seeds. Values without a run leave a gap on the axis.

    Args:
        study: what `build_study` returns; the row without a value is the reference.
        path: without suffix; `.png` and `.svg` are written.
        symbol: of the option, for the axis.
        note: a line under the title, e.g. what the models were chosen by.

    Returns:
        The files.
    """
    swept = [row for row in study["rows"] if row["value"] is not None]
    others = [row for row in study["rows"] if row["value"] is None]
    figure = _figure(5.6, 4.0)
    axes = figure.subplots()
    for index, name in enumerate(swept[0]["sets"]):
        colour = COLOURS[(5, 4, 3, 6)[index % 4]]
        points = sorted((row["value"], row["sets"][name]) for row in swept)
        means = [
            np.nan if cell["mean"] is None else cell["mean"] for _, cell in points
        ]  # NaN breaks the line
        style = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "zorder": 3}
        axes.plot([value for value, _ in points], means, label=f"SLD, {name}", **style)
        for value, cell in points:
            if len(cell["wer"]) > 1:
                axes.plot([value] * len(cell["wer"]), cell["wer"], ".", color=colour, alpha=0.5, ms=5)
        for row in others:
            if row["sets"][name]["wer"]:
                label = f"{row['label']}, {name}"
                axes.axhline(row["sets"][name]["mean"], color=colour, ls="--", lw=1.2, label=label)
    axes.set_xscale("log")
    ticks = [row["value"] for row in swept]
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.minorticks_off()
    if len(ticks) == 1:
        axes.set_xlim(ticks[0] / 3, ticks[0] * 3)
    elif ticks:
        axes.set_xlim(min(ticks) / 1.5, max(ticks) * 1.5)
    axes.set_xlabel(symbol)
    axes.set_ylabel("WER (%)")
    axes.margins(y=0.15)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    if any(len(values["wer"]) > 1 for row in swept for values in row["sets"].values()):
        note += "; small points: single runs" if note else "small points: single runs"
    axes.set_title(title + (f"\n{note}" if note else ""), loc="left", fontsize=9)
    axes.grid(alpha=0.25, lw=0.6)
    return _save(figure, path)


def plot_curves(
    panels: Sequence[tuple[str, str, Mapping[str, Sequence[Curve]]]],
    path: str | os.PathLike,
    *,
    title: str,
    labels: Mapping[str, str],
) -> list[Path]:
    """Loss curves, a row of two plots for every panel: the whole training, and its last half enlarged.

    Several runs of a row are thin lines, their mean a thick one.

    Args:
        panels: (part, what the panel's title says, row → curves of its runs).
        path: without suffix; `.png` and `.svg` are written.
        labels: row → name in the legend; an objective has the same colour in every plot.

    Returns:
        The files.
    """
    styles = _styles(list(labels))
    figure = _figure(9.0, 3.1 * len(panels) + 0.7)
    grid = figure.subplots(len(panels), 2, squeeze=False, width_ratios=[1.2, 1.0])
    for (part, heading, rows), (whole, late) in zip(panels, grid, strict=True):
        for row, label in labels.items():
            index = styles[row]
            _plot_row(whole, late, rows.get(row, ()), COLOURS[index], MARKERS[index], label)
        _zoom(late, [curve for curves in rows.values() for curve in curves])
        for axes in (whole, late):
            axes.set_xlabel("optimiser steps")
            axes.grid(alpha=0.25, lw=0.6)
        whole.set_ylabel(PART_NAMES.get(part, part))
        whole.set_title(heading, loc="left", fontsize=9)
        late.set_title("last half, enlarged", loc="left", fontsize=9)
    named = {}
    for whole, _ in grid:
        named |= {name: handle for handle, name in zip(*whole.get_legend_handles_labels(), strict=True)}
    figure.align_ylabels(grid[:, 0])
    if any(len(curves) > 1 for _, _, rows in panels for curves in rows.values()):
        title += " (thick: mean; thin: single runs)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    style = {"loc": "outside lower center", "ncols": min(len(named), 3) or 1, "fontsize": 8}
    figure.legend(named.values(), named.keys(), frameon=False, **style)
    return _save(figure, path)


def _styles(rows: Sequence[str]) -> dict[str, int]:
    """Row → index of its colour and marker: fixed for objectives, what is left for other rows."""
    fixed = {row: index for index, row in enumerate(LABELS) if row in rows}
    others = [row for row in rows if row not in fixed]
    free = [index for index in range(len(COLOURS)) if index not in fixed.values()] or list(
        range(len(COLOURS))
    )
    return fixed | {row: free[place % len(free)] for place, row in enumerate(others)}


def _plot_row(whole, late, curves: Sequence[Curve], colour: str, marker: str, label: str) -> None:
    """The runs of one row in both plots of a panel."""
    if not curves:
        return
    mean = mean_curve(curves)
    every = max(1, len(mean.steps) // 12)
    for axes in (whole, late):
        if len(curves) > 1:
            for curve in curves:
                axes.plot(curve.steps, curve.values, color=colour, lw=0.7, alpha=0.45)
        style = {"color": colour, "marker": marker, "ms": 4, "markevery": every, "lw": 1.6}
        axes.plot(mean.steps, mean.values, label=label, **style)


def _zoom(axes, curves: Sequence[Curve]) -> None:
    """Limits that show the last half of the steps, as far as it is numbers: a training may diverge."""
    last = max((int(curve.steps[-1]) for curve in curves), default=1)
    values = [curve.values[(curve.steps >= last / 2) & np.isfinite(curve.values)] for curve in curves]
    values = np.concatenate([part for part in values if len(part)] or [np.zeros(1)])
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_xlim(last / 2 - 0.02 * last, last * 1.02)
    axes.set_ylim(low - room, high + room)


def _figure(width: float, height: float):
    """A figure without pyplot: no display, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path: str | os.PathLike) -> list[Path]:
    """Write both formats whole; the same input gives the same SVG bytes."""
    from matplotlib import rc_context

    written = []
    for suffix, options in ((".png", {"dpi": PNG_DPI}), (".svg", {"metadata": {"Date": None}})):
        target = Path(f"{os.fspath(path)}{suffix}")  # not with_suffix: a name may hold a dot (0.008)
        with rc_context({"svg.hashsalt": "espnet_sld"}), atomic_write(target, "wb") as stream:
            figure.savefig(stream, format=suffix[1:], **options)
        written.append(target)
    return written
