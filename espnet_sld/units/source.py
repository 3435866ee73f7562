"""A data directory as a stream of features, and what decides them (for stamps)."""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_sld.corpus.checks import file_of, is_pipe
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.units import resample
from espnet_sld.units.batches import CPU_SECONDS, GPU_SECONDS, WINDOW, padded_batches, windows
from espnet_sld.units.frontends.base import FrontEnd
from espnet_sld.units.reader import Wave, in_background, read_waves
from espnet_sld.units.short import nominally_short, too_short

AUDIO_TABLES = ("wav.scp", "segments", "utt2speed")
CPU, GPU = (CPU_SECONDS, 1), (GPU_SECONDS, 4)  # padded seconds of a batch, reading threads


@dataclass(frozen=True)
class Reading:
    """How a set's audio is read.

    Attributes:
        allow_pipes: run commands in wav.scp.
        channels: mono | mean, see `corpus.audio.read_audio`.
        batch_seconds: padded seconds that the front-end gets at once; 0: 8 on a CPU, 300 on a GPU.
        threads: recordings decoded at the same time; 0: 1 on a CPU, 4 for a GPU.
        speed_on: where speed factors are applied: cpu (soxr, while reading) or device (torch, after).
        device: the front-end's torch device.
    """

    allow_pipes: bool = False
    channels: str = "mono"
    batch_seconds: float = 0.0
    threads: int = 0
    speed_on: str = "cpu"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.speed_on not in ("cpu", "device"):
            raise InputError(f"--speed_on {self.speed_on}: must be cpu or device")
        if not self.batch_seconds >= 0 or self.threads < 0:
            raise InputError(
                f"--batch_seconds {self.batch_seconds:g} and --reader_threads {self.threads} must not be "
                "negative; 0 chooses by device"
            )

    def describe(self, data: DataDir) -> dict[str, Any]:
        """What of it decides the audio of a set, for stamps."""
        perturbed = any(speed != 1 for speed in (data.utt2speed or {}).values())
        speed = resample.describe() if self.speed_on == "device" else "soxr"
        return {"channels": self.channels, "speed": speed if perturbed else None}

    @property
    def chosen(self) -> tuple[float, int]:
        """(padded seconds of a batch, reading threads), with what 0 stands for."""
        seconds, threads = CPU if self.device == "cpu" else GPU
        return self.batch_seconds or seconds, self.threads or threads


class Features(NamedTuple):
    """One utterance: id, length in samples as heard, features float32 (frames, D)."""

    utterance: str
    num_samples: int
    frames: np.ndarray


def audio_tables(data_dir: str | os.PathLike) -> list[Path]:
    """The files of a data directory that decide its audio; some may be missing."""
    return [Path(data_dir) / name for name in AUDIO_TABLES]


def audio_digest(data: DataDir) -> str:
    """Fingerprint of a set: utterances, and size and time of every audio file (commands by their text).

    The content itself is not hashed: that would cost as much as reading the corpus once more.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update("\n".join(data.utterances).encode())
    seen: set[Path] = set()
    for source in data.wav.values():
        if is_pipe(source):
            digest.update(f"\n{source}".encode())
            continue
        path = file_of(source)
        if path not in seen:
            seen.add(path)
            status = os.stat(path) if path.exists() else None
            digest.update(f"\n{path} {status and (status.st_size, status.st_mtime_ns)}".encode())
    return digest.hexdigest()


def stream_features(
    data: DataDir,
    front_end: FrontEnd,
    reading: Reading = Reading(),
    *,
    data_dir: str | os.PathLike = "DIR",
    shuffle: str | None = None,
) -> Iterator[Features]:
    """Read, form batches of similar length, extract; yield in the order of `reader.read_waves`.

    Memory: two windows of `WINDOW` batches' audio are read ahead by a thread while the front-end works on a
    third, of which the features are held too; whatever the size of the set. A front-end whose results do
    not depend on the batch gives the same features for any `reading` but its channels and `speed_on`.

    Args:
        data_dir: how messages call the set.
        shuffle: a seed: recordings in random order.

    Raises:
        InputError: an utterance that cannot be read (named), or utterances too short for a frame (all).
    """
    rate = front_end.sample_rate
    batch_seconds, threads = reading.chosen
    budget = batch_seconds * rate
    options = {
        "threads": threads,
        "allow_pipes": reading.allow_pipes,
        "channels": reading.channels,
        "apply_speed": reading.speed_on == "cpu",
    }
    # By utt2dur or segments first, so that they are told before hours of work.
    suspects = data.select(nominally_short(data, front_end))
    short = {
        wave.utterance: wave.length
        for wave in read_waves(suspects, rate, **options)
        if front_end.num_frames(wave.length) < 1
    }
    if short:
        raise too_short(short, front_end, data, data_dir)
    held, padded = 0, 0
    stream = read_waves(data, rate, shuffle=shuffle, **options)
    with closing(in_background(windows(stream, WINDOW * budget))) as ahead:
        for window in ahead:
            short |= {w.utterance: w.length for w in window if front_end.num_frames(w.length) < 1}
            if short:  # nothing can come of this set: only look for the others
                continue
            features: list[np.ndarray] = [None] * len(window)
            for batch in padded_batches([wave.length for wave in window], budget):
                frames = _extract(front_end, [window[index] for index in batch], reading.device)
                held += sum(window[index].length for index in batch)
                padded += window[batch[0]].length * len(batch)
                for index, result in zip(batch, frames, strict=True):
                    features[index] = result
            for index, wave in enumerate(window):
                result, features[index] = features[index], None
                yield Features(wave.utterance, wave.length, result)
    if short:
        raise too_short(short, front_end, data, data_dir)
    logging.info("%.1f s of audio, padding %.1f %%", held / rate, 100 * (1 - held / max(1, padded)))


def _extract(front_end: FrontEnd, waves: list[Wave], device: str) -> list[np.ndarray]:
    """Features of one batch; errors name its utterances."""
    try:
        return front_end.extract(
            [
                wave.samples if wave.speed == 1 else resample.change_speed(wave.samples, wave.speed, device)
                for wave in waves
            ]
        )
    except InputError as error:
        names = " ".join(wave.utterance for wave in waves)
        raise InputError(f"{error} (in a batch of {len(waves)} utterances: {names})") from None
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        seconds = waves[0].length / front_end.sample_rate
        raise InputError(
            f"{device}: out of memory for a batch of {len(waves)} utterances padded to {seconds:.1f} s, the "
            f"longest {waves[0].utterance}; lower --batch_seconds"
            + (", or cut or remove this utterance" if len(waves) == 1 else "")
        ) from None
