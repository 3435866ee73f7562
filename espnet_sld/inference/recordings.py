"""Whatever a user calls a recording → samples as a front-end takes them."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.corpus.audio import convert, load
from espnet_sld.corpus.sources import REMOVE, Recording
from espnet_sld.errors import InputError

Audio = str | os.PathLike | np.ndarray
MOST_CHANNELS = 64


def read_recording(audio: Audio, rate: int | None, target_rate: int, name: str = "audio") -> np.ndarray:
    """Samples (n,) float32 at `target_rate`; channels are averaged.

    Args:
        audio: path of a sound file, or samples (n,) or (n, channels): float at full scale ±1, or integers of
            their type's full scale.
        rate: of the samples, in Hz; a file brings its own.
        name: how messages call samples.

    Raises:
        InputError: it cannot be read, or holds nothing.
    """
    if not isinstance(audio, str | os.PathLike):
        return convert(_samples(audio, rate, name), target_rate, channels="mean", where=name)
    if not Path(audio).is_file():
        raise InputError(f"{audio}: {'a directory' if Path(audio).is_dir() else 'no such file'}")
    try:
        return convert(load(audio, where=str(audio)), target_rate, channels="mean", where=str(audio))
    except InputError as error:  # the remedies of the corpus room are for data directories
        message = str(error).partition(f"; {REMOVE}")[0]
        raise InputError(re.sub(r"Error opening <[^>]*>: ", "", message)) from None


def _samples(audio: Any, rate: int | None, name: str) -> Recording:
    """A waveform as a recording (n, channels) float32 at full scale ±1."""
    samples = np.asarray(audio)
    if rate is None or rate < 1:
        raise InputError(f"{name}: samples need their rate in Hz, e.g. speech2text(samples, 16000)")
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or samples.shape[1] > MOST_CHANNELS or not samples.size:
        raise InputError(f"{name}: samples of shape {np.shape(audio)}; must be (n,) or (n, channels)")
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    elif samples.dtype.kind != "f":
        raise InputError(f"{name}: samples of type {samples.dtype}; must be float or signed integers")
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: NaN or infinite samples")
    return Recording(samples.astype(np.float32), int(rate))
