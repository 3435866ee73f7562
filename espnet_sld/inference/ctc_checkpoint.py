"""Load a trained CTC recogniser for inference, without the decoders that only training has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_sld.errors import InputError
from espnet_sld.inference.checkpoint import read_config, read_parameters
from espnet_sld.models.ctc import CtcRecogniser
from espnet_sld.tokens.subword import Tokenizer, build_unit_tokenizer
from espnet_sld.tokens.target_ids import TargetIds

DECODERS = "decoders."
# a pack's name of a token file → the option that it stands for
CTC_PATHS = {"speech": "speech_token_path", "targets": "token_list", "target_model": "bpemodel"}


@dataclass(frozen=True)
class TrainedCtc:
    """Everything that decoding needs.

    Attributes:
        model: encoder and CTC head, in eval mode. targets: ids ↔ text.
        units: tokenizer of the unit text; None where the model hears filterbanks.
        config: all of config.yaml.
    """

    model: CtcRecogniser
    targets: TargetIds
    units: Tokenizer | None
    config: dict[str, Any]

    def text(self, tokens: Sequence[int]) -> str:
        """Words of target ids, one space between them whatever the path said."""
        return " ".join(self.targets.decode(tokens).split())


def load_ctc(
    checkpoint: str | Path, config: str | Path | None = None, device: str | torch.device = "cpu"
) -> TrainedCtc:
    """Load a model for decoding.

    Args:
        checkpoint: a .pth of parameters, or a whole training state; read with `weights_only`.
        config: config.yaml; None = the one beside the checkpoint.

    Raises:
        InputError: a file is missing or damaged, or they do not belong together.
    """
    checkpoint = Path(checkpoint)
    config = Path(config) if config else checkpoint.parent / "config.yaml"
    return assemble_ctc(
        read_config(config), read_parameters(checkpoint), device, checkpoint=checkpoint, config=config
    )


def is_ctc(conf: Mapping[str, Any]) -> bool:
    """Whether a configuration is one of a CTC recogniser."""
    return "target_vocabulary" in conf


def assemble_ctc(
    conf: dict[str, Any],
    parameters: Mapping[str, Tensor],
    device: str | torch.device = "cpu",
    *,
    checkpoint: Path,
    config: Path,
) -> TrainedCtc:
    """A model in eval mode from a configuration and parameters, which the messages call by their files.

    Raises:
        InputError: they do not belong together, or with the tokenizers.
    """
    if not is_ctc(conf):
        raise InputError(f"{config}: not of a CTC recogniser; bin.decode is for decoder-only models")
    from espnet_sld.tasks.encoders import build_recogniser

    model = build_recogniser(conf)
    try:
        model.load_inference_state_dict(
            {name: value for name, value in parameters.items() if not name.startswith(DECODERS)}
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{checkpoint} does not fit {config}: {str(error)[:300]}") from None
    units = None
    if conf["input"] == "units":
        units = build_unit_tokenizer(
            conf["speech_token_type"], conf.get("speech_token_path"), int(conf["num_clusters"])
        )
    targets = TargetIds(conf["token_type"], conf["token_list"], conf.get("bpemodel"))
    for kind, size, known in (
        ("target", targets.size, conf["target_vocabulary"]),
        ("unit", units.size if units else None, conf.get("unit_vocabulary")),
    ):
        if size != known:
            raise InputError(
                f"the {kind} tokenizer has {size} tokens, the model in {config} {known}: the tokenizer was "
                "remade; train again or restore it"
            )
    return TrainedCtc(model.strip().to(device).eval(), targets, units, conf)
