"""Where units and mel frames lie in time, and how units are written in files."""

import os
from dataclasses import dataclass

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.units.kmeans import KMeans
from espnet_sld.units.unit_text import FIRST, MAX_UNITS, text_to_ids
from espnet_sld.vocoder.mel import MelConf

UNIT_RATE = 16000  # Hz, of the waveforms that front-ends read
SSL_SHIFT, SSL_WINDOW = 320, 400  # samples: HuBERT, WavLM, and nearly Whisper


@dataclass(frozen=True)
class Timing:
    """Unit u was computed from the samples u·shift … u·shift + window of a 16 kHz waveform."""

    shift: int
    window: int

    def __post_init__(self) -> None:
        if self.shift < 1 or self.window < 1:
            raise InputError(
                f"units of {self.shift} samples shift, {self.window} samples window: both must be ≥ 1"
            )

    def num_units(self, num_samples: int) -> int:
        """Units of a 16 kHz waveform of that length."""
        return max(0, (num_samples - self.window) // self.shift + 1)

    def num_samples(self, units: int, rate: int = UNIT_RATE) -> int:
        """The shortest waveform of that many units, in samples at `rate`."""
        return round(((units - 1) * self.shift + self.window) * rate / UNIT_RATE)

    def unit_of_frames(self, units: int, conf: MelConf, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each mel frame: the unit whose middle is nearest, int64; where in it, 0 … 1, float32."""
        times = np.arange(frames) * (conf.hop * UNIT_RATE / conf.sample_rate)
        place = (times - self.window / 2) / self.shift + 0.5
        index = np.clip(np.floor(place), 0, units - 1).astype(np.int64)
        return index, np.clip(place - index, 0, 1).astype(np.float32)


def timing_of(kmeans: KMeans) -> Timing:
    """What the front-end's record beside the centroids says; models of speech have 20 ms and 25 ms."""
    front_end = kmeans.info.get("frontend") or {}
    if front_end.get("name") == "mfcc":
        per_ms = front_end["sample_rate"] / 1000
        return Timing(
            round(front_end["frame_shift_ms"] * per_ms), round(front_end["frame_length_ms"] * per_ms)
        )
    return Timing(SSL_SHIFT, SSL_WINDOW)


def read_units(path: str | os.PathLike, num_units: int) -> dict[str, np.ndarray]:
    """`utt 17 17 5` or `utt <CJK characters>` lines → int64 units; an utterance may have none.

    Raises:
        InputError: a line is neither, or a unit is outside 0 … num_units − 1.
    """
    result = {}
    for key, value in read_table(path, allow_empty_value=True).items():
        try:
            if value and FIRST <= ord(value[0]) < FIRST + MAX_UNITS:
                result[key] = text_to_ids("".join(value.split()), num_units)
            else:
                result[key] = np.array(value.split(), dtype=np.int64)
        except (ValueError, InputError) as error:
            raise InputError(f"{path}: '{key}' has no units: {error}") from None
        if len(result[key]) and not 0 <= result[key].min() <= result[key].max() < num_units:
            raise InputError(
                f"{path}: '{key}' has units outside 0 … {num_units - 1}; are they of other k-means?"
            )
    if not result:
        raise InputError(f"{path}: no utterance")
    return result
