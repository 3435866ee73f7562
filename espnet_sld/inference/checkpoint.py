"""Load a trained model from its experiment directory: config.yaml and a checkpoint of plain tensors."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from espnet_sld.errors import InputError
from espnet_sld.models.build import build_decoder_only
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tokens.image_ids import ImageTokenizer
from espnet_sld.tokens.subword import Tokenizer, build_text_tokenizer, build_unit_tokenizer
from espnet_sld.tokens.templates import Template, get_template
from espnet_sld.tokens.vocabulary import Vocabulary

PREFIX = "model."  # ESPnet's model holds the language model under this name


@dataclass(frozen=True)
class TrainedModel:
    """Everything that decoding needs.

    Attributes:
        config: all of config.yaml. tokenizers: "speech" and "text", "image" where the vocabulary has it.
    """

    model: DecoderOnlyLM
    vocabulary: Vocabulary
    tokenizers: dict[str, Tokenizer]
    template: Template
    config: dict[str, Any]

    @property
    def limits(self) -> dict[str, int]:
        """`max_positions`, `max_text` and other limits that were given, as `decode_set` takes them."""
        names = ("max_positions", "max_text", "max_speech", "max_image")
        return {name: int(self.config[name]) for name in names if self.config.get(name) is not None}


def load_checkpoint(
    checkpoint: str | Path, config: str | Path | None = None, device: str | torch.device = "cpu"
) -> TrainedModel:
    """Load a model for decoding, in eval mode.

    Args:
        checkpoint: a .pth of parameters (`<n>epoch.pth`, `valid.*.ave.pth`), or a whole training state that
            has them under `model`; read with `weights_only`.
        config: config.yaml; None = the one beside the checkpoint.

    Raises:
        InputError: a file is missing or damaged, or they do not belong together.
    """
    checkpoint = Path(checkpoint)
    config = Path(config) if config else checkpoint.parent / "config.yaml"
    conf = read_config(config)
    return assemble_model(conf, read_parameters(checkpoint), device, checkpoint=checkpoint, config=config)


def assemble_model(
    conf: dict[str, Any],
    parameters: dict[str, Tensor],
    device: str | torch.device = "cpu",
    *,
    checkpoint: Path,
    config: Path,
) -> TrainedModel:
    """A model in eval mode from a configuration and parameters, which the messages call by their files.

    Raises:
        InputError: they do not belong together, or with the tokenizers.
    """
    model = build_decoder_only(conf, load_weights=False)
    try:
        model.load_parameters(parameters)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{checkpoint} does not fit {config}: {str(error)[:300]}") from None
    vocabulary = Vocabulary.from_dict(conf["vocabulary"])
    try:
        tokenizers = {
            "speech": build_unit_tokenizer(
                conf["speech_token_type"], conf.get("speech_token_path"), int(conf["num_clusters"])
            ),
            "text": build_text_tokenizer(conf["text_token_type"], conf["text_token_path"]),
        }
        if len(vocabulary.range("image")):
            tokenizers["image"] = ImageTokenizer(int(conf["num_image_tokens"]))
        template = get_template(conf.get("template") or "asr_sld")
    except KeyError as error:
        raise InputError(f"{config}: no entry {error}; it was not written by training") from None
    for kind, tokenizer in tokenizers.items():
        if tokenizer.size != len(vocabulary.range(kind)):
            raise InputError(
                f"the {kind} tokenizer has {tokenizer.size} tokens, the model in {config} "
                f"{len(vocabulary.range(kind))}: the tokenizer was remade; train again or restore it"
            )
    return TrainedModel(model.to(device).eval(), vocabulary, tokenizers, template, conf)


def read_config(path: str | Path) -> dict[str, Any]:
    """A config.yaml as a dictionary; InputError if missing or not one."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; training writes it beside its checkpoints") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a mapping of options; training writes it beside its checkpoints")
    return values


def read_parameters(path: str | Path) -> dict[str, Tensor]:
    """The language model's tensors of a checkpoint, without the prefix of ESPnet's model."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint; name one of the .pth files of the experiment")
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
        raise InputError(f"{path}: damaged or not a checkpoint ({reason}); take another one") from None
    if isinstance(values, dict) and isinstance(values.get("model"), dict):
        values = values["model"]
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a checkpoint of parameters; take another one")
    found = {key.removeprefix(PREFIX): value for key, value in values.items() if key.startswith(PREFIX)}
    if not found:
        raise InputError(f"{path}: has no parameters '{PREFIX}…'; it is not a checkpoint of this toolkit")
    return found
