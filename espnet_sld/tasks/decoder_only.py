"""The ESPnet task: a decoder-only language model over speech units and text."""

import argparse
from functools import partial

# isort: off
from espnet_sld.tasks.base import StepTask  # before espnet2, which it makes importable

# isort: on
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet_sld.criteria.base import Criterion, build_criterion
from espnet_sld.errors import InputError
from espnet_sld.models.backbone import resolved_config, revision
from espnet_sld.models.build import build_decoder_only
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.espnet_model import DecoderOnlyESPnetModel
from espnet_sld.tasks.iterator import FixedIterFactory, StepIterFactory
from espnet_sld.tasks.mixture import MixtureBatchSampler, MixtureDataset, open_mixture
from espnet_sld.tasks.mixture_file import read_mixture
from espnet_sld.tasks.options import add_sequence_arguments, none_or_float, none_or_str
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tasks.sampling import SampledDataset, UnitSampling
from espnet_sld.tokens.vocabulary import Vocabulary


class DecoderOnlyTask(StepTask):
    """Options with ESPnet's names; our own below."""

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Defaults for this task, and its own options."""
        cls.add_common_arguments(parser, ("valid", "ce_text", "min"))
        add_sequence_arguments(parser)
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

    # -- what ESPnet asks for -----------------------------------------------------------------------
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
            image_vocabulary=len(vocabulary.range("image")),
            max_positions=args.max_positions,
        )

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> DecoderOnlyESPnetModel:
        """Model and criterion; notes `vocabulary`, `pad_id`, `backbone_resolved`, the objective in `args`."""
        if getattr(args, "vocabulary", None) is None:
            preprocess = SequencePreprocessor.from_args(args)
            args.vocabulary, args.pad_id = preprocess.vocabulary.as_dict(), int(preprocess.pad_id)
        if args.mixture:
            args.mixture_tasks = read_mixture(args.mixture).tasks  # what can be asked of the checkpoint
            args.template = args.mixture_tasks[0].split()[0]
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
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> StepIterFactory | FixedIterFactory:
        """Batches by token budget (`batch_bins`, `valid_batch_bins`)."""
        if len(iter_options.shape_files) > 1:
            raise InputError(f"give one {mode} shape file, of whole sequences (stage 6)")
        data = cls._open(args, iter_options, mode)
        criterion = cls.build_criterion(args)
        return cls.make_factory(args, iter_options, data, criterion)

    @classmethod
    def _open(cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str) -> SequenceDataset:
        """The set of `--mixture`, or of the data options."""
        if args.mixture:
            return open_mixture(args, mode, iter_options.preprocess_fn)
        drawing = UnitSampling.from_args(args) if iter_options.train else None
        paths = [(path, name) for path, name, _ in iter_options.data_path_and_name_and_type]
        opened = SequenceDataset if drawing is None else partial(SampledDataset, sampling=drawing)
        shape_file = next(iter(iter_options.shape_files), None)
        return opened(paths, iter_options.preprocess_fn, shape_file=shape_file)

    @classmethod
    def make_sampler(cls, data: SequenceDataset, batch_bins: int, **options) -> TokenBatchSampler:
        """A mixture has a sampler of its own, which knows the weights."""
        if isinstance(data, MixtureDataset):
            return MixtureBatchSampler(data, batch_bins, **options)
        return super().make_sampler(data, batch_bins, **options)
