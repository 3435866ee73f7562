"""The ESPnet task: a parallel CTC recogniser with intermediate losses and a masked LM's knowledge."""

import argparse
import logging
from pathlib import Path
from typing import Any

# isort: off
from espnet_sld.tasks.base import StepTask  # before espnet2, which it makes importable

# isort: on
import torch
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool

from espnet_sld.errors import InputError
from espnet_sld.models.soft_label_store import SoftLabelStore
from espnet_sld.tasks.ctc_dataset import CtcDataset, check_frames
from espnet_sld.tasks.ctc_espnet_model import CtcESPnetModel, CtcObjective
from espnet_sld.tasks.ctc_options import add_ctc_arguments, layers_of
from espnet_sld.tasks.ctc_speech import Speech, UnitSpeech, WaveSpeech
from espnet_sld.tasks.encoder_inputs import GlobalNormalisation
from espnet_sld.tasks.encoders import build_encoder, build_recogniser, default_layers
from espnet_sld.tasks.feature_statistics import feature_statistics
from espnet_sld.tasks.iterator import FixedIterFactory, StepIterFactory
from espnet_sld.tokens.subword import build_unit_tokenizer
from espnet_sld.tokens.target_ids import TargetIds

logger = logging.getLogger(__name__)


class CtcPreprocessor:
    """The tokenizers of targets and, with `--input units`, of units; built once, from the options."""

    def __init__(self, args: argparse.Namespace):
        self.targets = TargetIds(args.token_type, args.token_list, args.bpemodel)
        self.units = None
        if args.input == "units":
            self.units = build_unit_tokenizer(
                args.speech_token_type, args.speech_token_path, int(args.num_clusters)
            )


class CtcKdTask(StepTask):
    """Options with ESPnet's names; our own in `ctc_options`."""

    data_kinds = ("text", "sound")
    bins_are = "units or frames"

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Defaults for this task, and its own options."""
        cls.add_common_arguments(parser, ("valid", "ter", "min"))
        add_ctc_arguments(parser, NestedDictAction, str2bool)

    @classmethod
    def check(cls, args: argparse.Namespace) -> None:
        """Refuse what cannot work before anything is built; InputError."""
        super().check(args)
        missing = [name for name in ("token_type", "token_list") if not getattr(args, name)]
        if args.input == "units" and not args.num_clusters:
            missing.append("num_clusters")
        if missing:
            raise InputError(f"missing option: {', '.join(f'--{name}' for name in missing)}")
        if args.input not in ("units", "fbank"):
            raise InputError(f"--input {args.input}: must be units or fbank")
        if args.infeasible not in ("keep", "refuse"):
            raise InputError(f"--infeasible {args.infeasible}: must be keep or refuse")
        if args.train_shape_file or args.valid_shape_file:
            raise InputError(
                "shape files are not needed here; leave out --train_shape_file, --valid_shape_file"
            )

    # -- what ESPnet asks for -----------------------------------------------------------------------
    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> CtcPreprocessor:
        """Tokenizers."""
        return CtcPreprocessor(args)

    @classmethod
    def build_criterion(cls, args: argparse.Namespace) -> CtcObjective:
        """The loss; `args.target_vocabulary` must be there."""
        return CtcObjective(args.criterion_conf, args.target_vocabulary)

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> CtcESPnetModel:
        """Model and criterion; notes in `args` what a checkpoint needs beside its parameters."""
        if getattr(args, "target_vocabulary", None) is None:
            tokenizers = CtcPreprocessor(args)
            args.target_vocabulary = tokenizers.targets.size
            args.unit_vocabulary = tokenizers.units and tokenizers.units.size
        given = layers_of(args.interctc_layers)
        layers = default_layers(args.encoder, args.encoder_conf) if given is None else given
        args.interctc_layers = layers
        criterion = cls.build_criterion(args)
        taught = criterion.taught
        wanted = [name for name in ("ctc_inter", "aed_inter") if name in taught.weights]
        if wanted and not layers:
            raise InputError(
                f"criterion_conf puts a weight on {' and '.join(wanted)}, but there is no intermediate "
                'layer; give --interctc_layers, e.g. "2 4"'
            )
        if args.self_conditioning and not layers:
            raise InputError(
                "--self_conditioning feeds intermediate posteriors back, but there is no intermediate layer; "
                'give --interctc_layers, e.g. "2 4", or leave it out'
            )
        if taught.needs_soft_labels and not args.soft_labels:
            raise InputError("this row learns from a teacher: give --soft_labels FILE (bin.soft_labels)")
        # config.yaml names the row where it is the default, and the weights that it stands for
        args.criterion_conf = {"row": "interaed_kd", **args.criterion_conf}
        args.criterion_weights = {"beta": taught.beta, **taught.weights}
        model = build_recogniser(vars(args), taught.decoder_layers(layers))
        if isinstance(model.encoder.normalize, GlobalNormalisation) and args.output_dir is not None:
            mean, std = feature_statistics(
                cls.speech(args, args.train_data_path_and_name_and_type, None),
                model.encoder.source,
                Path(args.output_dir) / "feats_stats.safetensors",
            )
            model.encoder.normalize.set(mean, std)
        logger.info(
            "%d parameters at inference, %d in training; K = %s",
            model.num_inference_parameters(),
            sum(p.numel() for p in model.parameters()),
            " ".join(map(str, layers)) or "none",
        )
        return CtcESPnetModel(model, criterion)

    @classmethod
    def speech(cls, args: argparse.Namespace, triples: Any, preprocess: CtcPreprocessor | None) -> Speech:
        """What is heard of a set."""
        path = next(path for path, name, _ in triples if name == "speech")
        if args.input == "units":
            assert preprocess is not None and preprocess.units is not None
            return UnitSpeech(path, preprocess.units)
        conf = args.frontend_conf
        return WaveSpeech(path, int(conf.get("fs", 16000)), int(conf.get("hop_length", 128)))

    @classmethod
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> StepIterFactory | FixedIterFactory:
        """Batches by units or frames (`batch_bins`, `valid_batch_bins`)."""
        triples, preprocess = iter_options.data_path_and_name_and_type, iter_options.preprocess_fn
        criterion = cls.build_criterion(args)
        store = None
        if iter_options.train and criterion.taught.needs_soft_labels:
            store = SoftLabelStore(args.soft_labels)
        speech = cls.speech(args, triples, preprocess)
        text = next(path for path, name, _ in triples if name == "text")
        data = CtcDataset(speech, text, preprocess.targets, store)
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            shape = build_encoder(vars(args))
        listing = Path(args.output_dir) / f"infeasible_{mode}.txt"
        first = not iter_options.distributed or torch.distributed.get_rank() == 0
        check_frames(
            data, shape.output_lengths, listing if first else None, refuse=args.infeasible == "refuse"
        )
        return cls.make_factory(args, iter_options, data, criterion)
