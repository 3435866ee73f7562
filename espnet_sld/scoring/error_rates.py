"""Word and character error rates, one utterance at a time and in total.

The counts are jiwer's (jiwer 4 calls rapidfuzz for its alignment, and so does this module, which is tested
to give jiwer's substitutions, insertions and deletions). jiwer builds an alignment object for every
utterance; here most utterances need their edit distance only, which rapidfuzz computes for a whole batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espnet_sld.errors import InputError

# Words become single characters of a string: at most 0x110000 different ones in a batch of utterances.
BATCH = 2048


@dataclass(frozen=True)
class ErrorCounts:
    """Counts of an alignment of N references with N hypotheses, each an int64 array (N,)."""

    hits: np.ndarray
    substitutions: np.ndarray
    insertions: np.ndarray
    deletions: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """S + I + D of each utterance (N,)."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def reference(self) -> np.ndarray:
        """Words (or characters) of each reference (N,)."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Error rate over all utterances in percent: 100·(S + I + D) / reference length; may exceed 100.

        Raises:
            InputError: all references are empty, so there is nothing to divide by.
        """
        length = int(self.reference.sum())
        if length == 0:
            raise InputError("all references are empty: an error rate needs at least one reference word")
        return 100.0 * int(self.errors.sum()) / length


def count_word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorCounts:
    """Word-level counts of N pairs; words are what white space separates, compared as they are.

    An empty reference is legal: every hypothesis word is an insertion (jiwer's rate is undefined there).
    """
    _check_lengths(references, hypotheses)
    parts = [
        _count_batch(references[start : start + BATCH], hypotheses[start : start + BATCH])
        for start in range(0, len(references), BATCH)
    ]
    return ErrorCounts(*(np.concatenate(parts, axis=1) if parts else np.zeros((4, 0), dtype=np.int64)))


def count_character_errors(
    references: Sequence[str], hypotheses: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Character errors (N,) and reference characters (N,) of N pairs, both int64.

    Characters are Unicode code points; the single space between two words is one (as in jiwer).
    """
    _check_lengths(references, hypotheses)
    spaced = [[" ".join(text.split()) for text in texts] for texts in (references, hypotheses)]
    return _distances(*spaced), np.array([len(text) for text in spaced[0]], dtype=np.int64)


class _Letters(dict):
    """Word → a character of its own, handed out on first sight."""

    def __missing__(self, word: str) -> str:
        letter = self[word] = chr(len(self))
        return letter


def _check_lengths(references: Sequence[str], hypotheses: Sequence[str]) -> None:
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references but {len(hypotheses)} hypotheses")


def _count_batch(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """Hits, substitutions, insertions, deletions (4, N)."""
    from rapidfuzz.distance import Levenshtein

    letter_of = _Letters().__getitem__
    lengths, ours, theirs = [], [], []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        words = reference.split()
        lengths.append(len(words))
        if reference == hypothesis:  # most of a good system's output: nothing to encode
            words = other = ()
        else:
            other = hypothesis.split()
        ours.append("".join(map(letter_of, words)))
        theirs.append("".join(map(letter_of, other)))
    distance = _distances(ours, theirs)
    longer = np.array([len(b) - len(a) for a, b in zip(ours, theirs, strict=True)])  # I − D, in any alignment
    # S + 2·min(I, D) = distance − |I − D|: if that is 0 or 1, it is S; from 2 on it takes an alignment.
    substitutions = distance - np.abs(longer)
    for n in np.flatnonzero(substitutions > 1).tolist():
        steps = Levenshtein.editops(ours[n], theirs[n]).as_list()
        substitutions[n] = sum(step[0] == "replace" for step in steps)
    insertions = (distance - substitutions + longer) // 2
    deletions = insertions - longer
    return np.stack([np.array(lengths) - substitutions - deletions, substitutions, insertions, deletions])


def _distances(references: Sequence[str], hypotheses: Sequence[str]) -> np.ndarray:
    """Levenshtein distances (N,) of strings, all in one call."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    return cpdist(references, hypotheses, scorer=Levenshtein.distance, dtype=np.int64)
