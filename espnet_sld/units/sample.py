"""A bounded uniform sample of frames from a stream, in memory as float16."""

import hashlib

import numpy as np


def utterance_random(seed: int, utterance: str, purpose: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the utterance only, not on what was read before."""
    digest = hashlib.blake2b(f"{purpose} {seed} {utterance}".encode(), digest_size=8).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def select_utterances(utterances: list[str], portion: float, seed: int) -> list[str]:
    """About `portion` of the utterances, each by its own draw; never none."""
    if portion >= 1.0:
        return utterances
    draws = {utt: utterance_random(seed, utt, "portion").random() for utt in utterances}
    return [utt for utt in utterances if draws[utt] < portion] or [min(utterances, key=draws.__getitem__)]


class FrameSample:
    """Keeps the `limit` frames with the smallest random keys: uniform, without replacement.

    Keys come from seed and utterance, so the sample does not depend on the order of reading, and memory is
    2 × `limit` frames whatever is added.

    Args:
        limit: most frames; None keeps all.
        seed: of the keys.
    """

    def __init__(self, limit: int | None, seed: int):
        self.limit, self.seed = limit, seed
        self.seen = 0
        self._threshold = np.inf
        self._frames: list[np.ndarray] = []
        self._keys: list[np.ndarray] = []
        self._held = 0

    def add(self, utterance: str, frames: np.ndarray) -> None:
        """Offer the frames (T, D) of one utterance."""
        self.seen += len(frames)
        keys = utterance_random(self.seed, utterance, "frames").random(len(frames))
        chosen = keys < self._threshold
        self._frames.append(frames[chosen].astype(np.float16))
        self._keys.append(keys[chosen])
        self._held += int(chosen.sum())
        if self.limit is not None and self._held >= 2 * self.limit:
            self._prune()

    def result(self) -> np.ndarray:
        """The sample, float16 (min(limit, seen), D), in the order of the keys (random, but fixed)."""
        if not self._keys:
            return np.empty((0, 0), dtype=np.float16)
        self._prune()
        return self._frames[0]

    def _prune(self) -> None:
        frames, keys = np.concatenate(self._frames), np.concatenate(self._keys)
        order = np.argsort(keys, kind="stable")[: self.limit]
        self._frames, self._keys, self._held = [frames[order]], [keys[order]], len(order)
        if self.limit is not None and len(order) == self.limit:
            self._threshold = keys[order[-1]]
