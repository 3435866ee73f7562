"""Loss curves from the event files that training writes (`<run>/tensorboard/{train,valid}`)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.run_info import RunInfo, read_run_info
from espnet_sld.scoring.runs import run_directories

PHASES = ("valid", "train")


@dataclass(frozen=True)
class Curve:
    """One figure over training."""

    steps: np.ndarray  # (N,) int64, optimiser steps, rising
    values: np.ndarray  # (N,) float64


@dataclass(frozen=True)
class RunCurves:
    """Figure → curve of one run, and what its configuration says of the dev loss."""

    curves: dict[str, Curve]
    info: RunInfo


def event_files(directory: str | os.PathLike) -> list[Path]:
    """TensorBoard's files in a folder, sorted; none if it does not exist."""
    return sorted(Path(directory).glob("events.out.tfevents.*"))


def read_scalars(directory: str | os.PathLike) -> dict[str, Curve]:
    """All scalars of the event files in `directory`, in the order of steps.

    A resumed training leaves several files that may share steps: what was written last counts. A file that
    a kill cut off gives what is whole in it.

    Raises:
        InputError: no event file, or none with a scalar.
    """
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = event_files(directory)
    if not files:
        raise InputError(f"{directory}: no event files; train with use_tensorboard true (the default)")
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for path in files:
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if not value.tensor.float_val:
                    continue
                points = found.setdefault(value.tag, {})
                if event.step not in points or points[event.step][0] <= event.wall_time:
                    points[event.step] = (event.wall_time, float(value.tensor.float_val[0]))
    if not found:
        raise InputError(f"{directory}: the event files hold no figures; training ended in its first epoch")
    curves = {}
    for tag, points in found.items():
        steps = sorted(points)
        curves[tag] = Curve(np.array(steps, np.int64), np.array([points[step][1] for step in steps]))
    return curves


def read_run_curves(
    runs_dir: str | os.PathLike,
    rows: Sequence[str],
    parts: Sequence[str],
    *,
    phase: str = "valid",
    run_pattern: str = "asr_sld_{row}_seed{seed}",
) -> dict[str, dict[int, RunCurves]]:
    """row → seed → curves of `parts`, for the runs that have event files; a row without a run is empty.

    Raises:
        InputError: an unknown phase, no run at all, or a run without one of the `parts`.
    """
    if phase not in PHASES:
        raise InputError(f"--phase {phase}: must be {' or '.join(PHASES)}")
    result: dict[str, dict[int, RunCurves]] = {}
    for row in rows:
        result[row] = {}
        for seed, directory in run_directories(runs_dir, run_pattern, row).items():
            events = directory / "tensorboard" / phase
            if not event_files(events):
                continue
            curves = read_scalars(events)
            if lacking := [part for part in parts if part not in curves]:
                known = ", ".join(sorted(curves))
                raise InputError(f"{events}: no figure '{lacking[0]}' in it; there are: {known}")
            chosen = {part: curves[part] for part in parts}
            result[row][seed] = RunCurves(chosen, read_run_info(directory))
    if not any(result.values()):
        raise InputError(
            f"{runs_dir}: no {run_pattern}/tensorboard/{phase} for rows {', '.join(rows)}; "
            "train them first, or set --run_pattern"
        )
    return result


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over runs, at the steps that all of them have.

    Raises:
        InputError: there is no common step.
    """
    steps = curves[0].steps
    for curve in curves[1:]:
        steps = np.intersect1d(steps, curve.steps)
    if not len(steps):
        raise InputError("runs of one row have no step in common: other batch sizes; draw them one by one")
    values = [curve.values[np.searchsorted(curve.steps, steps)] for curve in curves]
    return Curve(steps, np.mean(values, axis=0))


def final_and_best(curve: Curve, larger_is_better: bool = False) -> Mapping[str, float]:
    """The last value, the best one that is a number, and the step of the best (the first of equals)."""
    ranked = np.nan_to_num(curve.values if larger_is_better else -curve.values, nan=-np.inf)
    best = int(ranked.argmax())
    return {
        "final": float(curve.values[-1]),
        "best": float(curve.values[best]),
        "best_step": int(curve.steps[best]),
        "last_step": int(curve.steps[-1]),
    }
