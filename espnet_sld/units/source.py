"""A data directory as a stream of features, and what decides them (for stamps)."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_sld.corpus.audio import utterances
from espnet_sld.corpus.checks import file_of, is_pipe
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.units.frontends.base import FrontEnd, check_lengths

AUDIO_TABLES = ("wav.scp", "segments", "utt2speed")


class Features(NamedTuple):
    """One utterance: id, length in samples, features float32 (frames, D)."""

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
    *,
    allow_pipes: bool = False,
    channels: str = "mono",
    batch_seconds: float = 30.0,
) -> Iterator[Features]:
    """Read, extract, yield; at most about `batch_seconds` of audio are in memory.

    Raises:
        InputError: naming the first utterance that cannot be read or is too short for a frame.
    """
    ids: list[str] = []
    waves: list[np.ndarray] = []
    held = 0

    def flush() -> Iterator[Features]:
        for utterance, wave, frames in zip(ids, waves, front_end.extract(waves), strict=True):
            yield Features(utterance, len(wave), frames)

    for utterance, wave in utterances(
        data, target_rate=front_end.sample_rate, allow_pipes=allow_pipes, channels=channels
    ):
        check_lengths(front_end, [utterance], [wave])
        if ids and held + len(wave) > batch_seconds * front_end.sample_rate:
            yield from flush()
            ids, waves, held = [], [], 0
        ids.append(utterance)
        waves.append(wave)
        held += len(wave)
    if ids:
        yield from flush()
