"""What a front-end must offer, and the registry that builds one by name without importing the others."""

import inspect
import json
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from espnet_sld.errors import InputError

# name → module:class; modules are imported only when asked for, because some need torch or transformers.
FRONTENDS = {"mfcc": "espnet_sld.units.frontends.mfcc:Mfcc"}

SSL = "espnet_sld.units.frontends.ssl:SslFrontEnd"
WHISPER = "espnet_sld.units.frontends.whisper:WhisperFrontEnd"
SSL_MODELS = (
    "wavlm_base",
    "wavlm_base_plus",
    "wavlm_large",
    "hubert_base",
    "hubert_large_ll60k",
    "hubert_large_ll160k",
)
WHISPER_SIZES = (
    *("tiny", "base", "small", "medium", "tiny_en", "base_en", "small_en", "medium_en"),
    *("large", "large_v2", "large_v3", "large_v3_turbo"),
)
# These have layers: `<model>/<layer>`. A path to a checkpoint may stand in place of the model.
LAYERED = dict.fromkeys(SSL_MODELS, SSL) | {f"whisper_{size}": WHISPER for size in WHISPER_SIZES}
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt", ".th")


class FrontEnd(Protocol):
    """Waveforms → features.

    Attributes:
        name: as in file names (`mfcc`, `wavlm_large_21`).
        sample_rate: of the waveforms, Hz.
        dimension: D of a frame.
        frame_shift: seconds between frames.
    """

    name: str
    sample_rate: int
    dimension: int
    frame_shift: float

    def num_frames(self, num_samples: int) -> int:
        """Frames of a waveform of that length; 0 if it is too short."""

    def extract(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        """Waveforms float32 (n_i,), full scale ±1 → features float32 (num_frames(n_i), D).

        An utterance's features do not depend on what else is in the list. Front-ends with a model pad the
        list to its longest waveform and run it as one batch, so the caller bounds the padded samples.
        """

    def describe(self) -> dict[str, Any]:
        """Everything that decides the features (JSON values), for stamps and for k-means' record.

        Neither the device nor the batch belongs to it.
        """


def build_frontend(name: str, *, device: str = "cpu", **conf: Any) -> FrontEnd:
    """The front-end of that name.

    Args:
        name: `mfcc`; `<model>/<layer>` such as `wavlm_large/21`, layer k = output of the k-th block; or
            `<path>/<layer>`, a Hugging Face directory or a checkpoint file of s3prl's or Microsoft's format.
        device: torch device of front-ends that run a model; the others ignore it.
        conf: the front-end's own options.

    Raises:
        InputError: no such front-end, an option that it does not have, or a value of another type.
    """
    target, arguments = _resolve(name)
    module, _, attribute = target.partition(":")
    front_end = getattr(import_module(module), attribute)
    parameters = inspect.signature(front_end).parameters
    options = {key: value for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY}
    takes_device = options.pop("device", None) is not None
    unknown = sorted(set(conf) - set(options))
    if unknown:
        raise InputError(f"front-end '{name}' has no option {' '.join(unknown)}; known: {' '.join(options)}")
    for option, value in conf.items():
        _check_type(name, option, value, options[option].annotation)
    return front_end(*arguments, **({"device": device} if takes_device else {}), **conf)


def configured_frontend(name: str, conf: Mapping[str, Any], device: str = "cpu") -> FrontEnd:
    """`build_frontend` with options that a user wrote, which may have any name.

    Raises:
        InputError: as `build_frontend`; also for what is no option of a front-end but of the command.
    """
    for option in ("device", "name"):
        if option in conf:
            command = "--device" if option == "device" else "--frontend"
            raise InputError(f"front-end '{name}' has no option {option}: it is the command's own, {command}")
    return build_frontend(name, device=device, **conf)


def file_name(model: str, layer: int) -> str:
    """A model with its layer as file names have it: `wavlm_large_21`; of a path the last name, no suffix."""
    last = Path(model).name
    for suffix in CHECKPOINT_SUFFIXES:
        last = last.removesuffix(suffix)
    return f"{last}_{layer}"


def _resolve(name: str) -> tuple[str, tuple]:
    """`module:class` of a front-end, and its positional arguments (model or path, layer)."""
    if name in FRONTENDS:
        return FRONTENDS[name], ()
    model, slash, layer = name.rpartition("/")
    if slash and layer.isdecimal() and model in LAYERED:
        return LAYERED[model], (model, int(layer))
    if slash and layer.isdecimal() and Path(model).exists():
        return _class_of(Path(model)), (model, int(layer))
    if name in LAYERED or Path(name).exists():
        raise InputError(f"front-end '{name}' needs a layer: give {name.rstrip('/')}/LAYER, e.g. {name}/9")
    raise InputError(
        f"no front-end '{name}'; known: {' '.join(sorted(FRONTENDS))}; with a layer, as wavlm_large/21: "
        f"{' '.join(sorted(LAYERED))}; or PATH/LAYER, where PATH is a checkpoint file or a Hugging Face "
        "directory that exists"
    )


def _class_of(path: Path) -> str:
    """Whisper has its own class; a directory's config.json tells."""
    if not path.is_dir():
        return SSL
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        return WHISPER if config["model_type"] == "whisper" else SSL
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{path}: has no config.json with a model_type; a Hugging Face directory has"
        ) from None


def _check_type(name: str, option: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not of the annotated plain type; other annotations are the front-end's own."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    if kind not in words:
        return
    right = isinstance(value, (int, float) if kind is float else kind)
    right = right and (kind is bool) == isinstance(value, bool)
    if not right or (kind is float and not math.isfinite(value)):
        raise InputError(f"front-end '{name}': {option}={value} must be {words[kind]}")
