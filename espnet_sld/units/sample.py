"""Drawing the utterances and the frames that k-means sees, by a seeded hash of the utterance."""

import hashlib
import logging
from collections.abc import Iterable

import numpy as np

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.durations import durations

COLUMNS = 64  # of the sample, sorted at once
SPARE = 8  # the sample's buffer is 1/SPARE larger than the sample


def utterance_digest(seed: int | str, utterance: str, purpose: str) -> bytes:
    """Random bits that depend on the seed and the utterance only, not on what else there is."""
    return hashlib.blake2b(f"{purpose} {seed} {utterance}".encode(), digest_size=8).digest()


def utterance_random(seed: int, utterance: str, purpose: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the utterance only, not on what was read before."""
    digest = utterance_digest(seed, utterance, purpose)
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def shuffled(ids: Iterable[str], seed: int | str, purpose: str) -> list[str]:
    """Ids in random order; two of them stand in the same order whatever else there is."""
    return sorted(ids, key=lambda key: (utterance_digest(seed, key, purpose), key))


def draw_hours(
    data: DataDir, hours: float, seed: int, *, purpose: str = "hours", allow_pipes: bool = False
) -> DataDir:
    """Utterances drawn at random until they have `hours` hours; 0 for all.

    The draw is by a hash of seed and utterance, so that more hours only add utterances. Durations come from
    utt2dur, else segments, else file headers, and only those of utterances drawn are looked up.

    Raises:
        InputError: a file whose header is needed cannot be read.
    """
    if not hours:
        return data
    total, chosen = 0.0, []
    order = shuffled(data.utterances, seed, purpose)
    for utterance, seconds in durations(data, order, allow_pipes=allow_pipes):
        chosen.append(utterance)
        total += seconds
        if total >= 3600 * hours:
            return data.select(chosen)
    logging.info("%.2f hours wanted, the set has %.2f: all of it is taken", hours, total / 3600)
    return data


class FrameSample:
    """Keeps the `limit` frames with the smallest random keys: uniform, without replacement.

    Keys come from seed and utterance, so the sample does not depend on the order of reading. Memory is
    9/8 × `limit` frames of float16, whatever is added.

    Args:
        limit: most frames.
        seed: of the keys.
    """

    def __init__(self, limit: int, seed: int):
        self.limit, self.seed = limit, seed
        self.seen = 0
        self._held = 0
        self._threshold = np.inf
        self._keys = np.empty(limit + limit // SPARE + 1)
        self._frames: np.ndarray | None = None

    def add(self, utterance: str, frames: np.ndarray) -> None:
        """Offer the frames (T, D) of one utterance."""
        self.seen += len(frames)
        keys = utterance_random(self.seed, utterance, "frames").random(len(frames))
        if self._frames is None:  # pages that are never written take no memory
            self._frames = np.empty((len(self._keys), frames.shape[1]), dtype=np.float16)
        chosen = np.flatnonzero(keys < self._threshold)
        while len(chosen):
            now = chosen[: len(self._keys) - self._held]
            end = self._held + len(now)
            self._frames[self._held : end], self._keys[self._held : end] = frames[now], keys[now]
            self._held = end
            if self._held == len(self._keys):
                self._prune()
            chosen = chosen[len(now) :]
            chosen = chosen[keys[chosen] < self._threshold]

    def result(self) -> np.ndarray:
        """The sample, float16 (min(limit, seen), D), in the order of the keys (random, but fixed)."""
        if self._frames is None:
            return np.empty((0, 0), dtype=np.float16)
        if self._held > self.limit:
            self._prune()
        order = np.argsort(self._keys[: self._held], kind="stable")
        self._keys[: self._held] = self._keys[order]
        frames = self._frames[: self._held]
        for start in range(0, frames.shape[1], COLUMNS):  # in place: a whole copy would double the memory
            part = slice(start, start + COLUMNS)
            frames[:, part] = frames[order, part]
        return frames

    def _prune(self) -> None:
        """Drop all but the `limit` smallest keys, moving frames from the end into the gaps."""
        keys = self._keys[: self._held]
        self._threshold = np.partition(keys, self.limit - 1)[self.limit - 1]
        keep = keys <= self._threshold
        gaps = np.flatnonzero(~keep[: self.limit])
        moved = self.limit + np.flatnonzero(keep[self.limit :])[: len(gaps)]
        self._keys[gaps], self._frames[gaps] = self._keys[moved], self._frames[moved]
        self._held = self.limit
