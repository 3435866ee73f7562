"""ESPnet's Trainer with its known faults mended; see each method."""

import argparse
import contextlib
import dataclasses
from collections.abc import Sequence

import torch
from espnet2.schedulers.abs_scheduler import AbsBatchStepScheduler
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from espnet2.utils.types import str2bool

from espnet_sld.tasks import random_state
from espnet_sld.tasks.iterator import MicroBatch
from espnet_sld.tasks.memory import out_of_memory, try_largest
from espnet_sld.tasks.meters import NO_SIZE, LossMeter, batch_sizes
from espnet_sld.tasks.midway import Figures, Midway, Resumed
from espnet_sld.tasks.training_log import TrainingLog
from espnet_sld.tasks.training_run import amp_dtype, run_epochs

# The batch options belong to an experiment once it has begun.
REMEDY = (
    "the last saved state is kept; go on with more processes, or with "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, or train with a lower --batch_bins in a new output_dir"
)


@dataclasses.dataclass
class DecoderOnlyTrainerOptions(TrainerOptions):
    """ESPnet's options and ours."""

    batch_bins: int
    peak_flops: float | None
    max_skipped_steps: int
    save_interval_steps: int
    save_interval_minutes: float
    try_largest_batch: bool


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
    fallback, also in mid-epoch; processes exchange gradients once per optimiser step (`no_sync` before it);
    NaN steps are skipped, counted and named.
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
            help="Stop after so many steps in a row with inf/NaN loss or gradients; such steps are skipped",
        )
        group.add_argument(
            "--save_interval_steps",
            type=int,
            default=0,
            help="Save the state in mid-epoch after every so many optimiser steps; 0: by time alone",
        )
        group.add_argument(
            "--save_interval_minutes",
            type=float,
            default=10.0,
            help="Save the state in mid-epoch when the last save is so old; 0: at the end of epochs alone",
        )
        group.add_argument(
            "--try_largest_batch",
            type=str2bool,
            default=True,
            help="On a GPU, try whether the largest micro-batch fits before training",
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
    def try_largest_batch(cls, model: torch.nn.Module, optimizer, factory, options) -> None:
        """See whether the largest micro-batch fits, and leave no trace; InputError where it does not."""
        device = next(model.parameters()).device
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        model.train()
        try_largest(
            lambda micro_batch: forward(model, micro_batch, device, options)["loss"],
            factory,
            optimizer,
            parameters,
            list(model.buffers()),
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
        midway: Midway | None = None,
        resumed: Resumed | None = None,
    ) -> bool:
        """One epoch of whole optimiser steps, or the rest of one; True if every step was skipped.

        Args:
            midway: saves and stops between steps. resumed: where the epoch goes on.
        """
        (optimizer,), (scheduler,) = optimizers, schedulers
        inner, accum = unwrap(model), iterator.per_step
        distributed, rank = distributed_option.distributed, distributed_option.dist_rank or 0
        world = torch.distributed.get_world_size() if distributed else 1
        device = next(model.parameters()).device

        model.train()
        optimizer.zero_grad(set_to_none=True)  # whatever an unfinished step left
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        meter = LossMeter(inner.criterion.count_names, inner.criterion.weights, device, distributed)
        counter = inner.flop_counter()
        place = {"steps": len(iterator) // accum, "per_step": accum, "rank": rank, "world": world}
        log = TrainingLog(
            options, reporter, summary_writer, **place, device=device, scaled=scaler is not None
        )
        if resumed is not None:
            meter.load_state_dict(resumed.common["meter"], resumed.vectors, rank)
            log.load_state_dict(resumed.common["log"])
            if resumed.random is not None:
                random_state.restore(resumed.random)

        def figures() -> Figures:
            common, vector = meter.state_dict()
            return Figures({"meter": common, "log": log.state_dict()}, vector)

        def step(micro: int, utterances: list[str], batch: dict) -> None:
            last = micro % accum == 0
            counts = [count / (world * accum) for count in batch["step_counts"].tolist()]
            sizes = batch_sizes(batch, counter) if utterances else NO_SIZE
            log.saw(micro, utterances)
            wait = contextlib.nullcontext() if last or not distributed else model.no_sync()
            with wait:
                out = forward(model, (utterances, batch), device, options)
                loss = out["loss"] / accum
                (loss if scaler is None else scaler.scale(loss)).backward()
            meter.add(out, counts, sizes, micro)
            if not last:
                return
            rate = optimizer.param_groups[0]["lr"]
            meter.add_step(*_optimiser_step(optimizer, scaler, parameters, options), micro // accum)
            if isinstance(scheduler, AbsBatchStepScheduler):
                scheduler.step()
            log.step_done(meter, micro, rate)

        if midway is not None:
            midway.goes_on(iterator.done, figures)
        for micro, (utterances, batch) in enumerate(iterator, iterator.done * accum + 1):
            try:
                step(micro, utterances, batch)
            except torch.OutOfMemoryError as error:
                when = f"in step {(micro - 1) // accum + 1} of epoch {reporter.get_epoch()}"
                raise out_of_memory(error, (utterances, batch), options.batch_bins, when, REMEDY) from None
            if midway is not None and micro % accum == 0:
                midway.step_done(micro // accum, figures)
        return log.epoch(meter)

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator,
        reporter: SubReporter,
        options: DecoderOnlyTrainerOptions,
        distributed_option: DistributedOption,
        midway: Midway | None = None,
    ) -> None:
        """Dev loss and parts over the whole set, not a mean of batches' means."""
        inner = unwrap(model)  # no collective in the forward: processes may have different numbers of batches
        device = next(inner.parameters()).device
        inner.eval()
        meter = LossMeter(
            inner.criterion.count_names, inner.criterion.weights, device, distributed_option.distributed
        )
        for utterances, batch in iterator:
            out = forward(inner, (utterances, batch), device, options)
            meter.add(out, batch["step_counts"].tolist(), batch_sizes(batch))
            if midway is not None:
                midway.validating()
        if midway is not None:
            for _ in range(len(iterator), iterator.rounds):  # others have a batch more
                midway.validating()
        reporter.register(meter.figures(meter.read()))
        reporter.next()


def forward(model: torch.nn.Module, micro_batch: MicroBatch, device: torch.device, options) -> dict:
    """The model's output for a micro-batch that is still on the CPU."""
    utterances, batch = micro_batch
    with autocast(options):
        return model(**_to_device(batch, device), utt_id=utterances)


# What Python or the CPU reads stays there, so that no kernel has to be waited for.
ON_CPU = ("step", "micro", "draws")


def _to_device(batch: dict, device: torch.device) -> dict:
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items() if name not in ON_CPU}
    here = {name: batch[name] for name in ON_CPU if name in batch}
    return moved | here | {"step": batch["step"].tolist(), "micro": batch["micro"].tolist()}


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
