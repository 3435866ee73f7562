"""What our ESPnet tasks share: one optimiser, batches of whole optimiser steps, processes, command line."""

# The placeholder has to stand before the first import of espnet2.
# ruff: noqa: E402
# isort: off
from espnet_sld.tasks.torchaudio_placeholder import quiet_espnet

quiet_espnet()
# isort: on

import argparse
import logging
import multiprocessing
import sys
from typing import Any

import torch
from espnet.utils.cli_utils import get_commandline_args
from espnet2.tasks import abs_task
from espnet2.tasks.abs_task import AbsTask, IteratorOptions

from espnet_sld.cli import RESOURCES
from espnet_sld.errors import REQUEUE, InputError
from espnet_sld.tasks import launch
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.tasks.command_line import check_options, parse_options
from espnet_sld.tasks.interruption import StopTraining, listening
from espnet_sld.tasks.iterator import FixedIterFactory, StepIterFactory, steps_per_epoch
from espnet_sld.tasks.optimizer import build_optimizer, check_conf
from espnet_sld.tasks.options import add_curriculum_arguments
from espnet_sld.tasks.schedulers import SCHEDULERS
from espnet_sld.tasks.trainer import DecoderOnlyTrainer

logger = logging.getLogger(__name__)
abs_task.scheduler_classes.update(SCHEDULERS)


class StepTask(AbsTask):
    """A task whose batches are made by a dataset with `lengths`, `counts`, `collate`, `part` and `at`.

    A subclass adds its options, its model and `build_task_iter_factory`, which ends in `make_factory`.
    """

    num_optimizers = 1
    trainer = DecoderOnlyTrainer
    data_kinds: tuple[str, ...] = ("text",)
    bins_are = "tokens"  # what `batch_bins` counts

    @classmethod
    def add_common_arguments(cls, parser: argparse.ArgumentParser, criterion: tuple[str, str, str]) -> None:
        """Defaults of ESPnet's options and what we share; `criterion`: what the best model is chosen by."""
        parser.set_defaults(
            iterator_type="task",
            num_att_plot=0,
            use_matplotlib=False,
            optim="adamw",
            num_workers=0,
            batch_bins=4000,
            keep_nbest_models=[5],
            best_model_criterion=[criterion],
            multiprocessing_distributed=True,
        )
        add_curriculum_arguments(parser)
        launch.add_arguments(parser)

    # -- what ESPnet asks for -----------------------------------------------------------------------
    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Speech and transcript; at test time the speech alone."""
        return ("speech",) if inference else ("speech", "text")

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """None."""
        return ()

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> None:
        """Batches are made by the dataset."""
        return None

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """ESPnet's optimiser by name; see `optimizer.build_optimizer`. The schedule is made after it."""
        if args.scheduler is not None:
            check_conf("scheduler_conf", abs_task.scheduler_classes[args.scheduler], args.scheduler_conf)
        return [
            build_optimizer(
                abs_task.optim_classes[args.optim], model, args.optim_conf, args.exclude_weight_decay
            )
        ]

    @classmethod
    def make_sampler(cls, data: Any, batch_bins: int, **options: Any) -> TokenBatchSampler:
        """Training's stream of optimiser steps."""
        return TokenBatchSampler(data.lengths, batch_bins, **options)

    @classmethod
    def make_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, data: Any, criterion: Any
    ) -> StepIterFactory | FixedIterFactory:
        """Batches of a set by length within `batch_bins` (`valid_batch_bins`)."""
        rank, world = 0, 1
        if iter_options.distributed:
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        common = {
            "rank": rank,
            "world": world,
            "num_workers": args.num_workers,
            "pin_memory": args.ngpu > 0,
        }
        if not iter_options.train:
            return FixedIterFactory(data, criterion, iter_options.batch_bins, **common)
        sampling = {"group": args.accum_grad, "seed": args.seed}
        sampler = cls.make_sampler(data, iter_options.batch_bins, **sampling)
        steps = steps_per_epoch(sampler, iter_options.num_iters_per_epoch, args.accum_grad)
        early = args.curriculum_steps
        if early > 0 and args.curriculum_portion < 1.0:
            sampler = cls.make_sampler(
                data,
                iter_options.batch_bins,
                curriculum_portion=args.curriculum_portion,
                curriculum_steps=round(early * args.max_epoch * steps if early < 1 else early),
                **sampling,
            )
        logger.info(
            "%d utterances, %.1f %s on average; %d steps an epoch, %d in all",
            len(data),
            data.lengths.mean(),
            cls.bins_are,
            steps,
            steps * args.max_epoch,
        )
        return StepIterFactory(data, criterion, sampler, steps_per_epoch=steps, **common)

    # -- command line -------------------------------------------------------------------------------
    @classmethod
    def check(cls, args: argparse.Namespace) -> None:
        """Refuse what cannot work before anything is built; InputError."""
        check_options(args, cls.required_data_names(), cls.data_kinds)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """One process's training; one that was started for it ends with a message or a code of its own."""
        if multiprocessing.parent_process() is None:
            cls._train(args)
            return
        launch.end_with_parent()
        with listening():
            try:
                cls._train(args)
            except StopTraining:
                sys.exit(REQUEUE)
            except InputError as error:
                sys.exit(f"error: {error}")
            except OSError as error:
                if error.errno not in RESOURCES:
                    raise
                sys.exit(f"error: {error.filename or 'output'}: {RESOURCES[error.errno]}")

    @classmethod
    def _train(cls, args: argparse.Namespace) -> None:
        if args.distributed and args.dist_rank:
            logging.getLogger().setLevel(logging.ERROR)  # the first process speaks for all
        try:
            super().main_worker(args)
        except RuntimeError as error:
            clear = launch.lost_connection(error) if args.distributed else None
            if clear is None:
                raise
            raise clear from error
        except StopTraining:
            launch.say_goodbye(args)
            raise
        launch.say_goodbye(args)

    @classmethod
    def main(cls, args: argparse.Namespace | None = None, cmd: list[str] | None = None) -> None:
        """Train (or print the config), on as many processes as the options and the environment say."""
        if args is None:
            command = sys.argv[1:] if cmd is None else list(cmd)
            args = parse_options(cls.get_parser(), command)
            if args.print_config:
                sys.argv = [sys.argv[0], *command]  # ESPnet reads it again there
                cls.print_config(file=sys.stdout)
                sys.exit(0)
        cls.check(args)
        print(get_commandline_args(), file=sys.stderr)
        args.version = abs_task.__version__
        launch.start(cls.main_worker, args)
