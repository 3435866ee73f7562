"""What a front-end must offer, and the registry that builds one by name without importing the others."""

import inspect
import math
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from espnet_sld.errors import InputError

# name → module:class; modules are imported only when asked for, because some need torch or transformers.
FRONTENDS = {"mfcc": "espnet_sld.units.frontends.mfcc:Mfcc"}


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

        An utterance's features do not depend on what else is in the list.
        """

    def describe(self) -> dict[str, Any]:
        """Everything that decides the features (JSON values), for stamps and for k-means' record."""


def build_frontend(name: str, **conf: Any) -> FrontEnd:
    """The front-end of that name.

    Raises:
        InputError: no such front-end, an option that it does not have, or a value of another type.
    """
    if name not in FRONTENDS:
        raise InputError(f"no front-end '{name}'; known: {' '.join(sorted(FRONTENDS))}")
    module, _, attribute = FRONTENDS[name].partition(":")
    front_end = getattr(import_module(module), attribute)
    parameters = inspect.signature(front_end).parameters
    known = list(parameters)
    unknown = sorted(set(conf) - set(known))
    if unknown:
        raise InputError(f"front-end '{name}' has no option {' '.join(unknown)}; known: {' '.join(known)}")
    for option, value in conf.items():
        _check_type(name, option, value, parameters[option].annotation)
    return front_end(**conf)


def _check_type(name: str, option: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not of the annotated plain type; other annotations are the front-end's own."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    if kind not in words:
        return
    right = isinstance(value, (int, float) if kind is float else kind)
    right = right and (kind is bool) == isinstance(value, bool)
    if not right or (kind is float and not math.isfinite(value)):
        raise InputError(f"front-end '{name}': {option}={value} must be {words[kind]}")


def check_lengths(front_end: FrontEnd, utterances: list[str], waves: list[np.ndarray]) -> None:
    """Raise InputError naming the first utterance that is too short for one frame."""
    for utterance, wave in zip(utterances, waves, strict=True):
        if front_end.num_frames(len(wave)) < 1:
            raise InputError(
                f"utterance {utterance}: {len(wave) / front_end.sample_rate:.4f} s ({len(wave)} samples) is "
                f"too short for one frame of {front_end.name}; remove it from the data directory"
            )
