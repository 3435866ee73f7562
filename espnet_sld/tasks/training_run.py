"""The epochs of a training: seeds, resume, data parallelism, saving, n-best models, early stopping.

ESPnet's `Trainer.run` in shorter words, because saving is in the middle of it: here every file appears
whole, and the order of the files makes a kill between any two of them harmless (the epoch's model, then
the checkpoint, then links and removals, which are made anew from the checkpoint when training resumes).
What is saved within an epoch, and how it goes on from there, is in `midway`.
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
from espnet_sld.tasks.agreement import Agreement
from espnet_sld.tasks.meters import format_figures
from espnet_sld.tasks.midway import Midway, Resumed, load_agreed, resume
from espnet_sld.tasks.saving import Saver, TrainingState

logger = logging.getLogger(__name__)

# Apart by more than any number of epochs, so that processes never share a stream of random numbers.
RANK_STRIDE = 1_000_003
STEP_STRIDE = 2_654_435_761


def seed_epoch(seed: int, epoch: int, rank: int, step: int = 0) -> None:
    """Random state of an epoch, from (seed, epoch, rank) alone; rank 0 is seeded as ESPnet does.

    Args:
        step: not 0 where the epoch goes on after so many steps on another number of processes.
    """
    set_all_random_seed((seed + epoch + RANK_STRIDE * rank + STEP_STRIDE * step) % 2**32)


def amp_dtype() -> torch.dtype:
    """bfloat16 where the device itself has it, else float16; torch counts emulation too (V100, T4)."""
    found = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if found else torch.float16


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


def _writers(options, main: bool, step: int) -> tuple[Any, Any]:
    """Tensorboard's; what a killed training wrote after `step`, from which this one goes on, is hidden."""
    if not (options.use_tensorboard and main):
        return None, None
    from torch.utils.tensorboard import SummaryWriter

    root = Path(options.output_dir) / "tensorboard"
    purge = step + 1 if step else None
    return tuple(SummaryWriter(str(root / name), purge_step=purge) for name in ("train", "valid"))


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

    Raises:
        StopTraining: a signal asked for it; the state is saved.
        InputError: what went wrong and what to do; the last saved state is kept.
    """
    agreement = Agreement(distributed_option.distributed)
    directory, reporter, steps = Path(options.output_dir), Reporter(), train_iter_factory.steps_per_epoch
    for scheduler in schedulers:
        if hasattr(scheduler, "set_total_steps"):
            scheduler.set_total_steps(options.max_epoch * steps)
    state = TrainingState(model, optimizers, schedulers, make_scaler(options), reporter)
    keep = options.keep_nbest_models
    nbests = [keep] if isinstance(keep, int) else list(keep) or [1]
    saver = Saver(directory, state, options.best_model_criterion, nbests)
    resumed = _resume(saver, train_iter_factory, agreement, options)
    parallel = data_parallel(model, options) if distributed_option.distributed else model
    if options.try_largest_batch and next(model.parameters()).device.type == "cuda":
        trainer.try_largest_batch(model, optimizers[0], train_iter_factory, options)
    midway = Midway(
        saver,
        agreement,
        train_iter_factory,
        save_steps=options.save_interval_steps,
        save_minutes=options.save_interval_minutes,
    )
    done = reporter.get_epoch() * steps + (resumed.step if resumed else 0)
    writers = _writers(options, agreement.rank == 0, done)
    start = time.perf_counter()
    try:
        _epochs(
            trainer,
            parallel,
            state,
            (train_iter_factory, valid_iter_factory),
            options,
            distributed_option,
            saver=saver,
            midway=midway,
            resumed=resumed,
            writers=writers,
        )
        if agreement.rank == 0:
            if reporter.get_epoch() > 0:
                saver.average()
            spent = format_seconds(time.perf_counter() - start)
            logger.info("training finished after %d epochs, %s", reporter.get_epoch(), spent)
        agreement.wait()  # no process says "finished" before the averages stand
    finally:
        saver.close()
        for writer in writers:
            if writer is not None:
                writer.close()


def _resume(saver: Saver, factory, agreement: Agreement, options) -> Resumed | None:
    """Take up the output directory's state; the place in an epoch if it is in the middle of one."""
    if agreement.rank == 0:
        checkpoints.remove_unfinished(saver.directory)
    if not options.resume:
        return None
    device = f"cuda:{torch.cuda.current_device()}" if options.ngpu > 0 else "cpu"
    saved = load_agreed(saver.directory, device, agreement)
    if saved is None:
        return None
    saver.state.load(saved)
    resumed = resume(saved["position"], factory, agreement) if saved.get("position") else None
    place = (
        f"step {resumed.step} of epoch {resumed.epoch}" if resumed else f"epoch {saver.reporter.get_epoch()}"
    )
    logger.info("resumed after %s of %s", place, saver.directory)
    if agreement.rank == 0:
        saver.tidy()
    return resumed


def _epochs(
    trainer,
    parallel: torch.nn.Module,
    state: TrainingState,
    factories: tuple,
    options,
    distributed_option,
    *,
    saver: Saver,
    midway: Midway,
    resumed: Resumed | None,
    writers: tuple,
) -> None:
    """The epochs that are left; `resumed` is in the first of them."""
    rank, reporter = distributed_option.dist_rank or 0, state.reporter
    common = {"options": options, "distributed_option": distributed_option, "midway": midway}
    selections = list(options.best_model_criterion)
    if options.patience is not None:
        selections.append(options.early_stopping_criterion)
    first = reporter.get_epoch() + 1
    stopped = first > 1 and _stop_early(reporter, options)
    for epoch in range(first, options.max_epoch + 1):
        if stopped:
            break
        midway.begin(epoch)
        here = resumed if resumed is not None and resumed.epoch == epoch else None
        seed_epoch(options.seed, epoch, rank, here.step if here is not None and here.random is None else 0)
        reporter.set_epoch(epoch)
        with reporter.observe("train") as observed:
            useless = trainer.train_one_epoch(
                model=parallel,
                optimizers=state.optimizers,
                schedulers=state.schedulers,
                iterator=factories[0].build_iter(epoch, done=here.step if here else 0),
                reporter=observed,
                scaler=state.scaler,
                summary_writer=writers[0],
                resumed=here,
                **common,
            )
        if useless:
            raise InputError(
                f"{options.output_dir}: every step of epoch {epoch} had inf or NaN gradients; lower the "
                "learning rate, or train without use_amp, and start again in a new output_dir"
            )
        saver.writer.join()  # data loaders fork, and should not fork a half-done write
        with reporter.observe("valid") as observed:
            trainer.validate_one_epoch(
                model=parallel, iterator=factories[1].build_iter(epoch), reporter=observed, **common
            )
        checkpoints.check_criteria(reporter, selections)
        for scheduler in state.schedulers:
            if isinstance(scheduler, AbsValEpochStepScheduler):
                scheduler.step(reporter.get_value(*options.val_scheduler_criterion))
            elif isinstance(scheduler, AbsEpochStepScheduler):
                scheduler.step()
        if rank == 0:
            _report(reporter, writers[1], epoch, options.max_epoch, factories[0].steps_per_epoch)
            saver.save_epoch()
            if options.nbest_averaging_interval > 0 and epoch % options.nbest_averaging_interval == 0:
                saver.average(f"till{epoch}epoch")
        midway.epoch_saved()
        stopped = _stop_early(reporter, options)


def _report(reporter: Reporter, writer, epoch: int, epochs: int, steps: int) -> None:
    """A line for the epoch's dev figures, and tensorboard."""
    stats = reporter.stats[epoch]["valid"]
    figures = {name: value for name, value in stats.items() if isinstance(value, float) and name != "padding"}
    logger.info("epoch %d/%d, dev: %s", epoch, epochs, format_figures(figures))
    if writer is not None:
        for name, value in figures.items():
            writer.add_scalar(name, value, epoch * steps)
