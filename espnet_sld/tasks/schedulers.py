"""Learning-rate schedules over optimiser steps that end at 0, which ESPnet does not have."""

import math

from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from espnet_sld.errors import InputError


class _ToZero(LRScheduler, AbsBatchStepScheduler):
    """Linear warm-up from 0, then a decay that reaches 0 at `total_steps`.

    Args:
        optimizer: its `lr` is the peak.
        warmup_steps: steps of warm-up; below 1: share of all steps.
        total_steps: None = as many as training has (`max_epoch` × steps per epoch; the trainer fills it in).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: float = 0,
        total_steps: int | None = None,
        last_epoch: int = -1,
    ):
        if warmup_steps < 0:
            raise InputError(f"scheduler_conf: warmup_steps must not be negative, got {warmup_steps}")
        self.warmup_steps, self.total_steps = warmup_steps, total_steps
        super().__init__(optimizer, last_epoch)

    def set_total_steps(self, steps: int) -> None:
        """Say how many optimiser steps training has; an explicit `total_steps` stays."""
        if self.total_steps is None:
            self.total_steps = steps
            for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
                group["lr"] = rate

    def decay(self, share: float) -> float:
        """Factor after warm-up; `share` 0–1 of the decay is over."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """Rates of the parameter groups for optimiser step `last_epoch` (0-based)."""
        total = self.total_steps or 1
        warmup = self.warmup_steps * total if self.warmup_steps < 1 else self.warmup_steps
        if self.last_epoch < warmup:
            factor = (self.last_epoch + 1) / (math.ceil(warmup) + 1)
        else:
            share = (self.last_epoch - warmup) / max(total - warmup, 1)
            factor = self.decay(min(max(share, 0.0), 1.0))
        return [rate * factor for rate in self.base_lrs]

    def state_dict(self) -> dict:
        """Position only: the schedule itself comes from the options."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state: dict) -> None:
        """Go to a saved position."""
        self.last_epoch = state["last_epoch"]
        self._step_count = self.last_epoch + 1
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


class WarmupCosine(_ToZero):
    """Linear warm-up, then half a cosine to 0."""

    def decay(self, share: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * share))


class LinearDecay(_ToZero):
    """Linear decay to 0 (arXiv 2311.04534's released code), with warm-up by option."""

    def decay(self, share: float) -> float:
        return 1.0 - share


SCHEDULERS = {"warmup_cosine": WarmupCosine, "linear_decay": LinearDecay}
