"""An epoch's progress lines, tensorboard scalars, reporter entry, and the naming of steps that went wrong."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch
from espnet2.train.reporter import SubReporter

from espnet_sld.errors import InputError
from espnet_sld.progress import format_seconds
from espnet_sld.tasks.memory import named
from espnet_sld.tasks.meters import LossMeter, format_figures, peak_flops

logger = logging.getLogger(__name__)


class TrainingLog:
    """Of one epoch.

    Args:
        options: the trainer's.
        reporter: gets the epoch's exact figures at its end.
        writer: tensorboard's, or None.
        steps, per_step: optimiser steps of the epoch, micro-batches of a step on this process.
        rank, world: of this process; what only one process knows is said at a level that all show.
        scaled: losses are scaled, as float16's are: that skips steps by itself until it has found its scale.
    """

    def __init__(
        self,
        options: Any,
        reporter: SubReporter,
        writer: Any,
        *,
        steps: int,
        per_step: int,
        rank: int,
        world: int,
        device: torch.device,
        scaled: bool = False,
    ):
        self.options, self.reporter, self.writer = options, reporter, writer
        self.steps, self.per_step, self.rank, self.world = steps, per_step, rank, world
        self.scaled = scaled
        self.every = options.log_interval or max(steps * per_step // 20, 10)
        self.peak = options.peak_flops or peak_flops(device, options.use_amp)  # before the clock starts
        self.rate, self.logged = 0.0, 0
        self._seen: dict[int, list[str]] = {}  # micro-batch → utterances, since the last line
        self.started = self.shown = time.perf_counter()

    def state_dict(self) -> dict[str, float]:
        """Where the log stands; seconds are of work, not of the time between a stop and a start."""
        now = time.perf_counter()
        return {
            "rate": self.rate,
            "logged": self.logged,
            "seconds": now - self.started,
            "seconds_shown": now - self.shown,
        }

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a saved log."""
        now = time.perf_counter()
        self.rate, self.logged = float(state["rate"]), int(state["logged"])
        self.started, self.shown = now - state["seconds"], now - state["seconds_shown"]
        self.reporter.start_time -= state["seconds"]

    def saw(self, micro: int, utterances: list[str]) -> None:
        """Note whose micro-batch this was, in case it must be named."""
        self._seen[micro] = utterances

    def _speed(self, values: Mapping[str, float], seconds: float) -> dict[str, float]:
        seconds = max(seconds, 1e-9)
        speed = {"tokens_per_second": values["tokens"] / seconds}
        if values["flops"]:  # not all models count them
            speed["mfu"] = 100.0 * values["flops"] / seconds / (self.peak * self.world)
        return speed

    def step_done(self, meter: LossMeter, micro: int, rate: float) -> None:
        """After micro-batch `micro`, the last of its step: a line if it is time for one."""
        if micro - self.logged >= self.every or micro == self.steps * self.per_step:
            self.logged = micro
            self._line(meter, micro // self.per_step, rate)
            self._seen.clear()

    def _line(self, meter: LossMeter, done: int, rate: float) -> None:
        """A line and tensorboard scalars; stops training after too many bad steps in a row."""
        values, now, self.rate = meter.read(), time.perf_counter(), rate
        figures = meter.figures(values) | self._speed(values, now - self.shown) | {"lr": rate}
        self.shown = now
        epoch, last = self.reporter.get_epoch(), self.options.max_epoch
        step, total = (epoch - 1) * self.steps + done, last * self.steps
        left = format_seconds((now - self.started) / done * (total - step))
        logger.info(
            "epoch %d/%d, step %d/%d: %s, %s left", epoch, last, step, total, format_figures(figures), left
        )
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(name, value, step)
        blame = self._blame(values, epoch)
        if values["longest_row"] >= self.options.max_skipped_steps:
            raise InputError(
                f"{self.options.output_dir}: gradients were inf or NaN in {values['longest_row']:.0f} steps "
                f"in a row before step {step}; lower the learning rate or grad_clip, or train without "
                f"use_amp; the last: {blame}. What was saved is kept; --max_skipped_steps N tolerates more"
            )
        if values["bad_loss"] or (values["skipped"] and not self.scaled):
            level = logging.ERROR if self.rank and values["bad_loss"] else logging.WARNING
            logger.log(level, "%.0f steps skipped, the last one: %s", values["skipped"], blame)

    def _blame(self, values: Mapping[str, float], epoch: int) -> str:
        """Which step, and whose loss if it was a loss of this process."""
        micro, step = int(values["bad_loss"]), int(values["bad_step"])
        if micro:
            what, whose = "the loss", self._seen.get(micro, [])
            step = (micro - 1) // self.per_step + 1
        else:
            what = "the gradient"
            parts = range((step - 1) * self.per_step + 1, step * self.per_step + 1)
            whose = [utterance for part in parts for utterance in self._seen.get(part, [])]
        place = f"step {(epoch - 1) * self.steps + step}"
        return f"{place}, {what} of {named(whose)}" if whose else f"{place}, {what}"

    def epoch(self, meter: LossMeter) -> bool:
        """Register the epoch's exact figures; True if every step was skipped."""
        values = meter.total
        figures = meter.figures(values) | self._speed(values, time.perf_counter() - self.started)
        self.reporter.register(figures | {"lr": self.rate})
        self.reporter.total_count += self.steps * self.per_step - 1
        self.reporter.next()
        return values["skipped"] >= values["steps"]
