"""The ESPnet task: a decoder-only language model over speech units and text."""

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
from functools import partial

import torch
from espnet.utils.cli_utils import get_commandline_args
from espnet2.tasks import abs_task
from espnet2.tasks.abs_task import AbsTask, IteratorOptions
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet_sld.cli import RESOURCES
from espnet_sld.criteria.base import Criterion, build_criterion
from espnet_sld.errors import REQUEUE, InputError
from espnet_sld.models.backbone import resolved_config, revision
from espnet_sld.models.build import build_decoder_only
from espnet_sld.tasks import launch
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.tasks.command_line import check_options, parse_options
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.espnet_model import DecoderOnlyESPnetModel
from espnet_sld.tasks.interruption import StopTraining, listening
from espnet_sld.tasks.iterator import FixedIterFactory, StepIterFactory, steps_per_epoch
from espnet_sld.tasks.optimizer import build_optimizer, check_conf
from espnet_sld.tasks.options import add_sequence_arguments, none_or_float, none_or_str
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tasks.sampling import SampledDataset, UnitSampling
from espnet_sld.tasks.schedulers import SCHEDULERS
from espnet_sld.tasks.trainer import DecoderOnlyTrainer
from espnet_sld.tokens.vocabulary import Vocabulary

logger = logging.getLogger(__name__)
abs_task.scheduler_classes.update(SCHEDULERS)


class DecoderOnlyTask(AbsTask):
    """Options with ESPnet's names; our own below. One optimiser."""

    num_optimizers = 1
    trainer = DecoderOnlyTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Defaults for this task, and its own options."""
        parser.set_defaults(
            iterator_type="task",
            num_att_plot=0,
            use_matplotlib=False,
            optim="adamw",
            num_workers=0,
            batch_bins=4000,
            keep_nbest_models=[5],
            best_model_criterion=[("valid", "ce_text", "min")],
            multiprocessing_distributed=True,
        )
        add_sequence_arguments(parser)
        launch.add_arguments(parser)
        group = parser.add_argument_group("Model")
        group.add_argument(
            "--backbone_source",
            type=none_or_str,
            default=None,
            help="Hugging Face directory or name of a causal LM",
        )
        group.add_argument(
            "--backbone_conf",
            action=NestedDictAction,
            default={},
            help="Config of a causal LM from scratch: model_type=llama hidden_size=128 …; or overrides",
        )
        group.add_argument(
            "--init_new_rows", default="normal", help="Initialisation of added vocabulary rows"
        )
        group.add_argument("--dropout", type=float, default=0.1, help="Dropout that the backbone itself has")
        group.add_argument(
            "--attention_dropout",
            type=none_or_float,
            default=None,
            help="Inside attention; default: --dropout. On a CPU only 0 is fast",
        )
        group.add_argument(
            "--residual_dropout",
            type=none_or_float,
            default=None,
            help="On the blocks' outputs where the backbone has none; default: --dropout",
        )
        group = parser.add_argument_group("Objective")
        group.add_argument(
            "--criterion", default="speech_text", help="Registered criterion, or my_module:MyClass"
        )
        group.add_argument(
            "--criterion_conf", action=NestedDictAction, default={}, help="Its options, e.g. objective=sld"
        )
        group.add_argument(
            "--time_mask_prob", type=float, default=0.0, help="Probability that an input token is masked"
        )
        group.add_argument("--mask_dev", type=str2bool, default=False, help="Mask the dev loss's inputs too")
        group = parser.add_argument_group("Curriculum")
        group.add_argument(
            "--curriculum_portion",
            type=float,
            default=1.0,
            help="Share of the utterances, the shortest, to begin with",
        )
        group.add_argument(
            "--curriculum_steps",
            type=float,
            default=0,
            help="Optimiser steps with those only; below 1: share of all steps",
        )

    # -- what ESPnet asks for -----------------------------------------------------------------------
    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Unit text and transcript; at test time the unit text alone."""
        return ("speech",) if inference else ("speech", "text")

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """None."""
        return ()

    @classmethod
    def build_collate_fn(cls, args: argparse.Namespace, train: bool) -> None:
        """Batches are made by `SequenceDataset.collate`."""
        return None

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> SequencePreprocessor:
        """Sample → sequence."""
        return SequencePreprocessor.from_args(args)

    @classmethod
    def build_criterion(cls, args: argparse.Namespace) -> Criterion:
        """The loss; `args.vocabulary` must be there."""
        vocabulary = Vocabulary.from_dict(args.vocabulary)
        return build_criterion(
            args.criterion,
            args.criterion_conf,
            text_vocabulary=len(vocabulary.range("text")),
            speech_vocabulary=len(vocabulary.range("speech")),
            max_positions=args.max_positions,
        )

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> DecoderOnlyESPnetModel:
        """Model and criterion; notes `vocabulary`, `pad_id`, `backbone_resolved`, the objective in `args`."""
        if getattr(args, "vocabulary", None) is None:
            preprocess = SequencePreprocessor.from_args(args)
            args.vocabulary, args.pad_id = preprocess.vocabulary.as_dict(), int(preprocess.pad_id)
        model = build_decoder_only(vars(args))
        args.backbone_resolved = resolved_config(model.backbone)  # a checkpoint then needs no backbone_source
        args.backbone_revision = revision(args.backbone_source)
        criterion = cls.build_criterion(args)
        if objective := getattr(criterion, "objective", None):  # config.yaml names it where it is the default
            args.criterion_conf = {**args.criterion_conf, "objective": objective}
        return DecoderOnlyESPnetModel(
            model,
            criterion,
            pad_id=args.pad_id,
            time_mask_prob=args.time_mask_prob,
            mask_dev=args.mask_dev,
            seed=args.seed,
        )

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
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> StepIterFactory | FixedIterFactory:
        """Batches by token budget (`batch_bins`, `valid_batch_bins`)."""
        if len(iter_options.shape_files) > 1:
            raise InputError(f"give one {mode} shape file, of whole sequences (stage 6)")
        drawing = UnitSampling.from_args(args) if iter_options.train else None
        paths = [(path, name) for path, name, _ in iter_options.data_path_and_name_and_type]
        opened = SequenceDataset if drawing is None else partial(SampledDataset, sampling=drawing)
        shape_file = next(iter(iter_options.shape_files), None)
        data = opened(paths, iter_options.preprocess_fn, shape_file=shape_file)
        criterion = cls.build_criterion(args)
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
        sampler = TokenBatchSampler(data.lengths, iter_options.batch_bins, **sampling)
        steps = steps_per_epoch(sampler, iter_options.num_iters_per_epoch, args.accum_grad)
        early = args.curriculum_steps
        if args.curriculum_portion < 1.0 and early > 0:
            sampler = TokenBatchSampler(
                data.lengths,
                iter_options.batch_bins,
                curriculum_portion=args.curriculum_portion,
                curriculum_steps=round(early * args.max_epoch * steps if early < 1 else early),
                **sampling,
            )
        logger.info(
            "%d utterances, %.1f tokens on average; %d steps an epoch, %d in all",
            len(data),
            data.lengths.mean(),
            steps,
            steps * args.max_epoch,
        )
        return StepIterFactory(data, criterion, sampler, steps_per_epoch=steps, **common)

    # -- command line -------------------------------------------------------------------------------
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
        check_options(args, cls.required_data_names())
        print(get_commandline_args(), file=sys.stderr)
        args.version = abs_task.__version__
        launch.start(cls.main_worker, args)
