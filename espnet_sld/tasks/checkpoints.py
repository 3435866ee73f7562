"""Checkpoints that survive a kill: written beside, renamed, the last good one kept; n-best and averages."""

import contextlib
import datetime
import logging
import os
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.train.reporter import Reporter

from espnet_sld.cli import RESOURCES
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write

logger = logging.getLogger(__name__)

# What reading a truncated or overwritten file raises.
UNREADABLE = (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)
CHECKPOINT, PREVIOUS = "checkpoint.pth", "checkpoint.prev.pth"
Criteria = Sequence[Sequence[str]]  # (phase, name, "min" | "max")


@contextlib.contextmanager
def clear_failure(path: Path) -> Iterator[None]:
    """A full or read-only disk as one message; torch wraps the system's error in one of its own.

    Raises:
        InputError: names `path`, what is wrong, and that nothing older was harmed.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        reason = RESOURCES.get(cause.errno) if isinstance(cause, OSError) else None
        if reason is None:
            raise
        raise InputError(f"{path}: {reason}; what was saved before it is kept") from error


def save(state: Any, path: Path) -> None:
    """`torch.save`, but a reader sees the old file or the whole new one."""
    with clear_failure(path), atomic_write(path, "wb") as stream:
        torch.save(state, stream)


def link(target: str, path: Path) -> None:
    """Make `path` a symbolic link to `target` (a name in the same directory), atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with clear_failure(path):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        os.replace(temporary, path)


def remove_unfinished(directory: Path) -> None:
    """Delete temporary files that a killed training left beside its models."""
    for path in directory.glob(".*.pth.*.tmp"):
        path.unlink(missing_ok=True)


def save_checkpoint(state: dict[str, Any], directory: Path) -> None:
    """Write `checkpoint.pth`; what was there before stays as `checkpoint.prev.pth`."""
    current, previous = directory / CHECKPOINT, directory / PREVIOUS
    if current.exists():
        temporary = directory / f".{PREVIOUS}.{os.getpid()}.tmp"
        with clear_failure(previous):
            temporary.unlink(missing_ok=True)
            try:
                os.link(current, temporary)
                os.replace(temporary, previous)
                temporary.unlink(missing_ok=True)  # still there where both are one file already
            except OSError:
                # A file system without hard links: a moment without checkpoint.pth, never without both.
                os.replace(current, previous)
    save(state, current)


def load_checkpoint(directory: Path, device: str = "cpu", *, set_aside: bool = True) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, None where there is none.

    A damaged `checkpoint.pth` is renamed to `checkpoint.pth.damaged`, so that it can never take the place of
    the good one before it when training saves again; `set_aside=False` leaves that to another process.

    Raises:
        InputError: there are checkpoints, and none can be read.
    """
    broken = []
    for path in (directory / CHECKPOINT, directory / PREVIOUS):
        if not path.exists():
            continue
        try:
            with zipfile.ZipFile(path) as archive:  # torch itself does not look at the check sums
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"check sum of {damaged}")
            with torch.serialization.safe_globals([datetime.timedelta]):
                state = torch.load(path, map_location=device, weights_only=True)
            if not isinstance(state, dict) or not {"model", "reporter", "optimizers"} <= state.keys():
                raise ValueError("not a training checkpoint")
        except UNREADABLE as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            broken.append(str(path))
            logger.warning("%s is damaged (%s); trying the one before it", path, reason[0][:200])
            continue
        except FileNotFoundError:  # another process has just renamed it
            continue
        if broken:
            if set_aside:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(directory / CHECKPOINT, directory / f"{CHECKPOINT}.damaged")
            logger.warning("going on from %s, the one before; what came after is trained again", path)
        return state
    if broken:
        raise InputError(
            f"{' and '.join(broken)}: no checkpoint can be read; "
            "delete them to start again, or use another output_dir"
        )
    return None


def plain(value: Any) -> Any:
    """The reporter's state without numpy types, so that it loads with `weights_only=True`."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str, datetime.timedelta)):
        return value
    return float(value)


# -- n-best models ---------------------------------------------------------------------------------
def nbest_epochs(reporter: Reporter, criterion: Sequence[str], count: int) -> list[int]:
    """The best epochs by one criterion that the reporter has; best first."""
    phase, name, mode = criterion
    values = [
        (stats[phase][name], epoch)
        for epoch, stats in reporter.stats.items()
        if phase in stats and name in stats[phase] and stats[phase][name] == stats[phase][name]  # not NaN
    ]
    values.sort(key=lambda pair: (pair[0] if mode == "min" else -pair[0], pair[1]))
    return [epoch for _, epoch in values[:count]]


def update_links(directory: Path, reporter: Reporter, criteria: Criteria) -> list[str]:
    """Point `latest.pth` and `<phase>.<name>.best.pth` where the reporter says; names that changed."""
    epoch = reporter.get_epoch()
    if epoch == 0:
        return []
    link(f"{epoch}epoch.pth", directory / "latest.pth")
    improved = []
    for criterion in criteria:
        best = nbest_epochs(reporter, criterion, 1)
        if best:
            name = f"{criterion[0]}.{criterion[1]}"
            link(f"{best[0]}epoch.pth", directory / f"{name}.best.pth")
            if best[0] == epoch:
                improved.append(name)
    return improved


def remove_models(directory: Path, reporter: Reporter, criteria: Criteria, keep: int) -> None:
    """Delete models of epochs that are neither the latest nor among the `keep` best of any criterion."""
    wanted = {reporter.get_epoch()}.union(
        *(nbest_epochs(reporter, criterion, keep) for criterion in criteria)
    )
    for epoch in range(1, reporter.get_epoch()):
        if epoch not in wanted:
            with contextlib.suppress(FileNotFoundError):
                (directory / f"{epoch}epoch.pth").unlink()


def check_criteria(reporter: Reporter, criteria: Criteria) -> None:
    """Refuse a criterion of selection that this training does not log (a typing error, or another loss).

    Raises:
        InputError: names it and what there is.
    """
    logged = reporter.stats[reporter.get_epoch()]
    for phase, name, *_ in criteria:
        if name not in logged.get(phase, {}):
            known = ", ".join(key for key, value in logged.get(phase, {}).items() if isinstance(value, float))
            raise InputError(
                f"nothing can be chosen by {phase},{name}: training logs no such figure; there are: {known}; "
                "set best_model_criterion (and early_stopping_criterion) in a new output_dir"
            )


def average_states(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Mean of the parameters of several models (added up in float64; integers are taken from the first)."""
    total: dict[str, torch.Tensor] = {}
    first: dict[str, torch.Tensor] = {}
    for path in paths:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise InputError(f"{path}: no such model; it was deleted or never written") from None
        except UNREADABLE as error:
            raise InputError(
                f"{path}: damaged ({str(error).splitlines()[0][:200]}); train that epoch again"
            ) from None
        first = first or state
        if state.keys() != first.keys():
            raise InputError(f"{path}: other parameters than {paths[0]}; average models of one training only")
        for name, value in state.items():
            if value.is_floating_point():
                total[name] = total[name] + value.double() if name in total else value.double()
    return {
        name: (total[name] / len(paths)).to(value.dtype) if name in total else value
        for name, value in first.items()
    }


def average_nbest(
    directory: Path, reporter: Reporter, criteria: Criteria, nbests: Sequence[int], suffix: str | None = None
) -> None:
    """Write `<phase>.<name>.ave_<n>best[.<suffix>].pth` and the link `….ave[.<suffix>].pth` to the widest.

    As ESPnet's, whose own accumulates in place: with two criteria its second average is wrong.
    """
    ending = f"{suffix}.pth" if suffix else "pth"
    for criterion in criteria:
        # A model may be gone where training went back to an older checkpoint: average what is there.
        every = nbest_epochs(reporter, criterion, len(reporter.stats))
        epochs = [epoch for epoch in every if (directory / f"{epoch}epoch.pth").exists()][: max(nbests)]
        counts = sorted({min(count, len(epochs)) for count in nbests if count > 0})
        if not epochs or not counts:
            continue
        stem = f"{criterion[0]}.{criterion[1]}"
        for count in counts:
            path = directory / f"{stem}.ave_{count}best.{ending}"
            if count == 1:
                link(f"{epochs[0]}epoch.pth", path)
            else:
                save(average_states([directory / f"{epoch}epoch.pth" for epoch in epochs[:count]]), path)
        link(f"{stem}.ave_{counts[-1]}best.{ending}", directory / f"{stem}.ave.{ending}")
