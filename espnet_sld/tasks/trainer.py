"""ESPnet's Trainer with its known faults mended; see each method."""

import argparse
import contextlib
import dataclasses
import logging
import time
from collections.abc import Sequence

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet_sld.errors import InputError
from espnet_sld.models.flops import FlopCounter
from espnet_sld.progress import format_seconds
from espnet_sld.tasks.meters import LossMeter, batch_sizes, format_figures, peak_flops
from espnet_sld.tasks.training_run import amp_dtype, run_epochs

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class DecoderOnlyTrainerOptions(TrainerOptions):
    """ESPnet's options and our two."""

    peak_flops: float | None
    max_skipped_steps: int


def autocast(options: TrainerOptions) -> contextlib.AbstractContextManager:
    """Mixed precision on a GPU by `use_amp`; a no-op elsewhere."""
    if options.use_amp and options.ngpu > 0:
        return torch.autocast("cuda", dtype=amp_dtype())
    return contextlib.nullcontext()


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """The ESPnet model inside DistributedDataParallel."""
    return getattr(model, "module", model)


class DecoderOnlyTrainer(Trainer):
    """ESPnet's Trainer with these differences.

    Gradients never leak from an unfinished step; logged losses are Σ sums / Σ counts over everything, on
    train and dev alike; statistics leave the device once per log interval; checkpoints are atomic with a
    fallback; processes exchange gradients once per optimiser step; NaN steps are skipped and counted.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Our options of the trainer."""
        group = parser.add_argument_group("Decoder-only trainer")
        group.add_argument(
            "--peak_flops",
            type=float,
            default=None,
            help="Peak FLOP/s of a device for the MFU estimate; default: by its name, else measured",
        )
        group.add_argument(
            "--max_skipped_steps",
            type=int,
            default=20,
            help="Stop after so many steps in a row with inf/NaN gradients",
        )

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> DecoderOnlyTrainerOptions:
        """Options of `run` from the command line."""
        return build_dataclass(DecoderOnlyTrainerOptions, args)

    @classmethod
    def run(
        cls,
        model: AbsESPnetModel,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence,
        train_iter_factory,
        valid_iter_factory,
        plot_attention_iter_factory,
        trainer_options: DecoderOnlyTrainerOptions,
        distributed_option: DistributedOption,
    ) -> None:
        """The whole training; see `training_run.run_epochs`."""
        run_epochs(
            cls,
            model,
            optimizers,
            schedulers,
            train_iter_factory,
            valid_iter_factory,
            trainer_options,
            distributed_option,
        )

    @classmethod
    def train_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator,
        optimizers: Sequence[torch.optim.Optimizer],
        schedulers: Sequence,
        scaler,
        reporter: SubReporter,
        summary_writer,
        options: DecoderOnlyTrainerOptions,
        distributed_option: DistributedOption,
    ) -> bool:
        """One epoch of whole optimiser steps; True if every step was skipped."""
        (optimizer,), (scheduler,) = optimizers, schedulers
        inner, accum = unwrap(model), options.accum_grad
        distributed = distributed_option.distributed
        world = torch.distributed.get_world_size() if distributed else 1
        device = next(model.parameters()).device
        log_interval = options.log_interval or max(len(iterator) // 20, 10)
        log = _Log(options, reporter, summary_writer, len(iterator) // accum, world, device)

        model.train()
        optimizer.zero_grad(set_to_none=True)  # whatever an unfinished step left
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        meter = LossMeter(inner.criterion.count_names, inner.criterion.weights, device, distributed)
        counter, logged = FlopCounter(inner.model), 0
        for micro, (utterances, batch) in enumerate(iterator, 1):
            last = micro % accum == 0
            counts = [count / (world * accum) for count in batch["step_counts"].tolist()]
            sizes = batch_sizes(batch, counter)
            wait = contextlib.nullcontext() if last or not distributed else model.no_sync()
            with wait:
                with autocast(options):
                    out = model(**_to_device(batch, device), utt_id=utterances)
                    loss = out["loss"] / accum
                (loss if scaler is None else scaler.scale(loss)).backward()
            meter.add(out, counts, sizes)
            del out, loss
            if not last:
                continue
            rate = optimizer.param_groups[0]["lr"]
            meter.add_step(*_optimiser_step(optimizer, scaler, parameters, options))
            if isinstance(scheduler, AbsBatchStepScheduler):
                scheduler.step()
            if micro - logged >= log_interval or micro == len(iterator):
                logged = micro
                log.interval(meter, micro // accum, rate)
        return log.epoch(meter, len(iterator))

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator,
        reporter: SubReporter,
        options: DecoderOnlyTrainerOptions,
        distributed_option: DistributedOption,
    ) -> None:
        """Dev loss and parts over the whole set, not a mean of batches' means."""
        inner = unwrap(model)  # no collective in the forward: processes may have different numbers of batches
        device = next(inner.parameters()).device
        inner.eval()
        meter = LossMeter(
            inner.criterion.count_names, inner.criterion.weights, device, distributed_option.distributed
        )
        for utterances, batch in iterator:
            with autocast(options):
                out = inner(**_to_device(batch, device), utt_id=utterances)
            meter.add(out, batch["step_counts"].tolist(), batch_sizes(batch))
        reporter.register(meter.figures(meter.read()))
        reporter.next()


def _to_device(batch: dict, device: torch.device) -> dict:
    """Tensors to the device; `step` and `micro` stay integers, so that no kernel has to be waited for."""
    moved = {
        name: value.to(device, non_blocking=True)
        for name, value in batch.items()
        if name not in ("step", "micro")
    }
    return moved | {"step": batch["step"].tolist(), "micro": batch["micro"].tolist()}


def _optimiser_step(optimizer, scaler, parameters, options) -> tuple[torch.Tensor, torch.Tensor]:
    """Clip and step, or skip where the gradient is not finite; the norm and 1.0 if skipped."""
    if scaler is not None:
        scaler.unscale_(optimizer)
    limit = options.grad_clip if options.grad_clip > 0 else float("inf")
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit, norm_type=options.grad_clip_type)
    bad = (~torch.isfinite(norm)).float()
    if scaler is not None:
        scaler.step(optimizer)  # skips by itself
        scaler.update()
    elif norm.is_cuda and optimizer.defaults.get("fused"):
        optimizer.found_inf = bad  # the fused kernel skips on the device: nobody waits for the norm
        optimizer.step()
    elif not bad.item():
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm, bad


class _Log:
    """Progress lines, tensorboard and the reporter's entry of one epoch."""

    def __init__(self, options, reporter, writer, steps, world, device):
        self.options, self.reporter, self.writer, self.steps = options, reporter, writer, steps
        self.world, self.rate = world, 0.0
        self.peak = options.peak_flops or peak_flops(device, options.use_amp)  # before the clock starts
        self.started = self.shown = time.perf_counter()

    def _speed(self, values: dict[str, float], seconds: float) -> dict[str, float]:
        seconds = max(seconds, 1e-9)
        return {
            "tokens_per_second": values["tokens"] / seconds,
            "mfu": 100.0 * values["flops"] / seconds / (self.peak * self.world),
        }

    def interval(self, meter: LossMeter, done: int, rate: float) -> None:
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
        if values["longest_row"] >= self.options.max_skipped_steps:
            raise InputError(
                f"{self.options.output_dir}: gradients were inf or NaN in {values['longest_row']:.0f} steps "
                f"in a row before step {step}; lower the learning rate or grad_clip, or train without use_amp"
            )

    def epoch(self, meter: LossMeter, iterations: int) -> bool:
        """Register the epoch's exact figures; True if every step was skipped."""
        values = meter.total
        figures = meter.figures(values) | self._speed(values, time.perf_counter() - self.started)
        self.reporter.register(figures | {"lr": self.rate})
        self.reporter.total_count += iterations - 1
        self.reporter.next()
        return values["skipped"] >= values["steps"]
