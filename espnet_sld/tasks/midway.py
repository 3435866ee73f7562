"""The middle of an epoch: when its state is saved, what that holds beside parameters, how it is put back.

A saved state and the batches after it are all that the rest of a training depends on, so a training that is
stopped or killed and started again ends with the parameters of an undisturbed one, bit for bit on a CPU.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_sld.errors import InputError
from espnet_sld.tasks import random_state
from espnet_sld.tasks.agreement import Agreement
from espnet_sld.tasks.checkpoints import load_checkpoint
from espnet_sld.tasks.interruption import STOP, StopTraining
from espnet_sld.tasks.iterator import StepIterFactory
from espnet_sld.tasks.saving import Saver

logger = logging.getLogger(__name__)

GO_ON, SAVE, STOP_NOW = range(3)
# What a shared file system may need until all machines see a new file.
FILE_SYSTEM_LAG = 60.0


@dataclass(frozen=True)
class Figures:
    """What an epoch's meter and log have gathered so far.

    Attributes:
        common: the same on all processes. vector: of this process, float64 of a length that all share.
    """

    common: dict[str, Any]
    vector: Tensor


class Midway:
    """Saves in the middle of an epoch, and stops there when a signal asked for it.

    Every process calls the same methods at the same steps; they agree by the small exchanges of `Agreement`.

    Args:
        saver: used by the first process alone.
        factory: says where the epoch's batches began.
        save_steps: save after every so many optimiser steps; 0: never by number.
        save_minutes: save when the last save is so long ago; 0: never by time.
    """

    def __init__(
        self,
        saver: Saver,
        agreement: Agreement,
        factory: StepIterFactory,
        *,
        save_steps: int,
        save_minutes: float,
    ):
        self.saver, self.agreement, self.factory = saver, agreement, factory
        self.save_steps, self.save_seconds = save_steps, 60.0 * save_minutes
        self.epoch = self.step = 0
        self._figures: Callable[[], Figures] | None = None
        self._saved_at = time.monotonic()

    def begin(self, epoch: int) -> None:
        """An epoch begins, or goes on; everything before it is saved."""
        self.epoch = epoch
        if self.agreement.most(STOP.wanted):
            raise StopTraining(f"stopped on request ({_cause()}) before epoch {epoch}: {_LATER}")

    def goes_on(self, step: int, figures: Callable[[], Figures]) -> None:
        """The epoch goes on after its step `step`, the last one perhaps: validation may be stopped again."""
        self.step, self._figures = step, figures

    def step_done(self, step: int, figures: Callable[[], Figures]) -> None:
        """After optimiser step `step` (1-based) of the epoch: save, or save and stop, or go on.

        Raises:
            StopTraining: a signal asked for it; the state is saved.
        """
        self.goes_on(step, figures)
        self.saver.writer.check()
        answer = self.agreement.most(self._wish(step))
        if answer == SAVE:
            self._save(background=True)
        elif answer == STOP_NOW:
            self._stop()

    def validating(self) -> None:
        """During validation: stop if asked to, as after the epoch's last step."""
        if self.agreement.most(STOP.wanted):
            self._stop()

    def epoch_saved(self) -> None:
        """The epoch's own checkpoint has just been written."""
        self._saved_at = time.monotonic()

    def _wish(self, step: int) -> int:
        if STOP.wanted:
            return STOP_NOW
        total = (self.epoch - 1) * self.factory.steps_per_epoch + step
        by_number = self.save_steps and total % self.save_steps == 0
        late = self.save_seconds and time.monotonic() - self._saved_at >= self.save_seconds
        # The first process's clock counts; the others follow its wish.
        return SAVE if by_number or (late and self.agreement.rank == 0) else GO_ON

    def _stop(self) -> None:
        self._save(background=False)
        self.agreement.wait()  # a process that left before it is saved would have the first one killed
        raise StopTraining(
            f"stopped on request ({_cause()}) after step {self.step} of epoch {self.epoch}: {_LATER}"
        )

    def _save(self, *, background: bool) -> None:
        started = time.perf_counter()
        figures, random = self._figures(), random_state.capture()
        rows = self.agreement.gather(torch.cat([random, figures.vector.view(torch.uint8)]))
        if self.agreement.rank == 0:
            cut = len(random)
            processes = [
                {"random": row[:cut].clone(), "figures": row[cut:].clone().view(torch.float64)}
                for row in rows
            ]
            position = {
                "epoch": self.epoch,
                "step": self.step,
                "batches": self.factory.state_dict(),
                "figures": figures.common,
                "processes": processes,
            }
            self.saver.save_position(self.epoch - 1, position, background=background)
            logger.info(
                "state after step %d of epoch %d %s (training waited %.2f s)",
                self.step,
                self.epoch,
                "is being written" if background else "saved",
                time.perf_counter() - started,
            )
        self._saved_at = time.monotonic()


_LATER = "the state is saved; run the same command again and training goes on from there"


def _cause() -> str:
    return "on another process" if STOP.signal is None else STOP.signal.name


@dataclass(frozen=True)
class Resumed:
    """The place in an epoch at which a training goes on.

    Attributes:
        epoch: 1-based. step: steps of it that are done.
        common, vectors: see `Figures`; the vectors of all processes that there were.
        random: this process's random numbers; None where the number of processes has changed.
    """

    epoch: int
    step: int
    common: Mapping[str, Any]
    vectors: Sequence[Tensor]
    random: Tensor | None


def resume(position: Mapping[str, Any], factory: StepIterFactory, agreement: Agreement) -> Resumed:
    """What a checkpoint's `position` says, for this process.

    Raises:
        InputError: it is a place among other batches.
    """
    factory.load_state_dict(position["batches"])
    processes = position["processes"]
    random = None
    if len(processes) == agreement.world:
        random = processes[agreement.rank]["random"].cpu()
    else:
        logger.warning(
            "%d processes go on where %d stopped: dropout takes other random numbers",
            agreement.world,
            len(processes),
        )
    return Resumed(
        epoch=int(position["epoch"]),
        step=int(position["step"]),
        common=position["figures"],
        vectors=[process["figures"].cpu() for process in processes],
        random=random,
    )


def load_agreed(directory: Path, device: str, agreement: Agreement) -> dict[str, Any] | None:
    """`load_checkpoint`, the same one on all processes: the others wait until they see what the first read.

    Raises:
        InputError: none can be read, or another machine does not see the first one's.
    """
    state = load_checkpoint(directory, device) if agreement.rank == 0 else None
    wanted = agreement.of_first(_place(state))
    if agreement.rank == 0 or wanted == _place(None):
        return state
    give_up = time.monotonic() + FILE_SYSTEM_LAG
    while True:
        with contextlib.suppress(InputError):  # half of a file may be all that is seen yet
            state = load_checkpoint(directory, device, set_aside=False)
            if _place(state) == wanted:
                return state
        if time.monotonic() > give_up:
            raise InputError(
                f"{directory}: process {agreement.rank} does not see the checkpoint from which the first one "
                f"goes on ({wanted[0]} epochs, {wanted[1]} steps); all machines must share output_dir"
            )
        time.sleep(1.0)


def _place(state: dict[str, Any] | None) -> list[int]:
    """(finished epochs, steps after them), (−1, 0) without a checkpoint."""
    if state is None:
        return [-1, 0]
    position = state.get("position")
    return [int(state["reporter"]["epoch"]), int(position["step"]) if position else 0]
