"""The epochs of a training: seeds, resume, data parallelism, saving, n-best models, early stopping.

ESPnet's `Trainer.run` in shorter words, because saving is in the middle of it: here every file appears
whole, and the order of the files makes a kill between any two of them harmless (the epoch's model, then
the checkpoint, then links and removals, which are made anew from the checkpoint when training resumes).
"""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from espnet2.schedulers.abs_scheduler import AbsEpochStepScheduler, AbsValEpochStepScheduler
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed
from espnet2.train.reporter import Reporter

from espnet_sld.errors import InputError
from espnet_sld.progress import format_seconds
from espnet_sld.tasks import checkpoints
from espnet_sld.tasks.meters import format_figures

logger = logging.getLogger(__name__)

# Apart by more than any number of epochs, so that processes never share a stream of random numbers.
RANK_STRIDE = 1_000_003


def seed_epoch(seed: int, epoch: int, rank: int) -> None:
    """Random state of an epoch, from (seed, epoch, rank) alone; rank 0 is seeded as ESPnet does."""
    set_all_random_seed(seed + epoch + RANK_STRIDE * rank)


def restore(state: dict[str, Any], model, optimizers, schedulers, scaler, reporter: Reporter) -> None:
    """Put a checkpoint's content in place.

    Raises:
        InputError: it belongs to another model or optimiser.
    """
    try:
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()][:3]
        raise InputError(
            f"the checkpoint in the output directory is of another model ({' '.join(lines)[:300]}); "
            "choose another output_dir, or delete its checkpoints"
        ) from None
    for scheduler, saved in zip(schedulers, state["schedulers"], strict=True):
        if scheduler is not None and saved is not None:
            scheduler.load_state_dict(saved)
    if scaler is not None and state.get("scaler") is not None:
        scaler.load_state_dict(state["scaler"])
    reporter.load_state_dict(state["reporter"])


def amp_dtype() -> torch.dtype:
    """bfloat16 where the device has it, else float16, as ESPnet."""
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float16


def make_scaler(options) -> torch.amp.GradScaler | None:
    """Loss scaling, which only float16 needs."""
    if options.use_amp and options.ngpu > 0 and amp_dtype() == torch.float16:
        return torch.amp.GradScaler("cuda")
    return None


def data_parallel(model, options) -> torch.nn.Module:
    """DistributedDataParallel on this process's device."""
    device = next(model.parameters()).device
    devices = [torch.cuda.current_device()] if device.type == "cuda" else None
    return torch.nn.parallel.DistributedDataParallel(
        model,
        device_ids=devices,
        find_unused_parameters=options.unused_parameters,
        gradient_as_bucket_view=options.gradient_as_bucket_view,
    )


class Saver:
    """Writes what an epoch leaves behind (on the first process only).

    Args:
        directory: the experiment's.
        reporter: its statistics decide which models stay.
        criteria: (phase, name, mode) triples of `best_model_criterion`.
        nbests: `keep_nbest_models`.
    """

    def __init__(self, directory: Path, reporter: Reporter, criteria, nbests: list[int]):
        self.directory, self.reporter = directory, reporter
        self.criteria, self.nbests = criteria, nbests

    def save(self, model, optimizers, schedulers, scaler) -> None:
        """The epoch's model, the checkpoint, links, removal of what is no longer among the best."""
        state = model.state_dict()
        checkpoints.save(state, self.directory / f"{self.reporter.get_epoch()}epoch.pth")
        checkpoints.save_checkpoint(
            {
                "model": state,
                "reporter": checkpoints.plain(self.reporter.state_dict()),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "schedulers": [scheduler and scheduler.state_dict() for scheduler in schedulers],
                "scaler": scaler and scaler.state_dict(),
            },
            self.directory,
        )
        self.tidy()

    def tidy(self) -> None:
        """Links and removals, from the reporter; harmless to repeat."""
        improved = checkpoints.update_links(self.directory, self.reporter, self.criteria)
        if improved:
            logger.info("best so far by %s", ", ".join(improved))
        checkpoints.remove_models(self.directory, self.reporter, self.criteria, max(self.nbests))

    def average(self, suffix: str | None = None) -> None:
        """Averages of the n best models."""
        checkpoints.average_nbest(self.directory, self.reporter, self.criteria, self.nbests, suffix)


def _writers(options, main: bool) -> tuple[Any, Any]:
    if not (options.use_tensorboard and main):
        return None, None
    from torch.utils.tensorboard import SummaryWriter

    root = Path(options.output_dir) / "tensorboard"
    return SummaryWriter(str(root / "train")), SummaryWriter(str(root / "valid"))


def _stop_early(reporter: Reporter, options) -> bool:
    return options.patience is not None and reporter.check_early_stopping(
        options.patience, *options.early_stopping_criterion
    )


def run_epochs(
    trainer,
    model,
    optimizers,
    schedulers,
    train_iter_factory,
    valid_iter_factory,
    options,
    distributed_option,
) -> None:
    """Train from where the output directory stands to `max_epoch`.

    Args:
        trainer: class with `train_one_epoch` and `validate_one_epoch`.
        model: an ESPnet model; the other arguments are ESPnet's.
    """
    distributed, rank = distributed_option.distributed, distributed_option.dist_rank or 0
    main, directory, reporter = rank == 0, Path(options.output_dir), Reporter()
    scaler = make_scaler(options)
    keep = options.keep_nbest_models
    nbests = [keep] if isinstance(keep, int) else list(keep) or [1]
    saver = Saver(directory, reporter, options.best_model_criterion, nbests)
    selections = list(options.best_model_criterion)
    if options.patience is not None:
        selections.append(options.early_stopping_criterion)
    if main:
        checkpoints.remove_unfinished(directory)
    steps = getattr(train_iter_factory, "steps_per_epoch", None)
    for scheduler in schedulers:
        if hasattr(scheduler, "set_total_steps") and steps is not None:
            scheduler.set_total_steps(options.max_epoch * steps)
    if options.resume:
        device = f"cuda:{torch.cuda.current_device()}" if options.ngpu > 0 else "cpu"
        state = checkpoints.load_checkpoint(directory, device)
        if state is not None:
            restore(state, model, optimizers, schedulers, scaler, reporter)
            del state
            logger.info("resumed after epoch %d of %s", reporter.get_epoch(), directory)
            if main:
                saver.tidy()
    parallel = data_parallel(model, options) if distributed else model
    train_writer, valid_writer = _writers(options, main)

    first, start = reporter.get_epoch() + 1, time.perf_counter()
    stopped = first > 1 and _stop_early(reporter, options)
    for epoch in range(first, options.max_epoch + 1):
        if stopped:
            break
        seed_epoch(options.seed, epoch, rank)
        reporter.set_epoch(epoch)
        with reporter.observe("train") as observed:
            useless = trainer.train_one_epoch(
                model=parallel,
                optimizers=optimizers,
                schedulers=schedulers,
                iterator=train_iter_factory.build_iter(epoch),
                reporter=observed,
                scaler=scaler,
                summary_writer=train_writer,
                options=options,
                distributed_option=distributed_option,
            )
        if useless:
            raise InputError(
                f"{directory}: every step of epoch {epoch} had inf or NaN gradients; lower the "
                "learning rate, or train without use_amp, and start again in a new output_dir"
            )
        with reporter.observe("valid") as observed:
            trainer.validate_one_epoch(
                model=parallel,
                iterator=valid_iter_factory.build_iter(epoch),
                reporter=observed,
                options=options,
                distributed_option=distributed_option,
            )
        checkpoints.check_criteria(reporter, selections)
        for scheduler in schedulers:
            if isinstance(scheduler, AbsValEpochStepScheduler):
                scheduler.step(reporter.get_value(*options.val_scheduler_criterion))
            elif isinstance(scheduler, AbsEpochStepScheduler):
                scheduler.step()
        if main:
            _report(reporter, valid_writer, epoch, options.max_epoch, steps)
            saver.save(model, optimizers, schedulers, scaler)
            if options.nbest_averaging_interval > 0 and epoch % options.nbest_averaging_interval == 0:
                saver.average(f"till{epoch}epoch")
        stopped = _stop_early(reporter, options)
    if main:
        if reporter.get_epoch() > 0:
            saver.average()
        logger.info(
            "training finished after %d epochs, %s",
            reporter.get_epoch(),
            format_seconds(time.perf_counter() - start),
        )
    for writer in (train_writer, valid_writer):
        if writer is not None:
            writer.close()


def _report(reporter: Reporter, writer, epoch: int, epochs: int, steps: int | None) -> None:
    """A line for the epoch's dev figures, and tensorboard."""
    stats = reporter.stats[epoch]["valid"]
    figures = {name: value for name, value in stats.items() if isinstance(value, float) and name != "padding"}
    logger.info("epoch %d/%d, dev: %s", epoch, epochs, format_figures(figures))
    if writer is not None:
        for name, value in figures.items():
            writer.add_scalar(name, value, epoch * (steps or 1))
