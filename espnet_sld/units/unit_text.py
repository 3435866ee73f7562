"""Units as text: cluster id i ↔ the CJK character chr(0x4E00 + i), as ESPnet's asr2 writes them.

One Unicode block, because SentencePiece never merges across scripts. All 20 902 ideographs of Unicode 1.1
(U+4E00 … U+9FA5) may be used; none of them is changed by SentencePiece's `nmt_nfkc` normalisation.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write

FIRST = 0x4E00
MAX_UNITS = 20902


def check_num_clusters(num_clusters: int) -> None:
    """Raise InputError unless 1 ≤ `num_clusters` ≤ 20902."""
    if not 1 <= num_clusters <= MAX_UNITS:
        raise InputError(
            f"num_clusters is {num_clusters}: "
            f"must be between 1 and {MAX_UNITS}, the CJK characters that units have"
        )


def ids_to_text(ids: Iterable[int]) -> str:
    """Cluster ids (any length) → as many characters, without spaces.

    Raises:
        InputError: an id is outside 0 … 20901.
    """
    array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
    if array.size and not (array.min() >= 0 and array.max() < MAX_UNITS):
        bad = array[(array < 0) | (array >= MAX_UNITS)][0]
        raise InputError(f"unit {bad} has no character; units are 0 … {MAX_UNITS - 1}")
    return (array + FIRST).astype("<u4").tobytes().decode("utf-32-le")


def text_to_ids(text: str, num_clusters: int = MAX_UNITS) -> np.ndarray:
    """Characters → cluster ids, int64 (len(text),). The inverse of `ids_to_text`.

    Raises:
        InputError: a character is not one of the first `num_clusters` units.
    """
    ids = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64) - FIRST
    outside = np.flatnonzero((ids < 0) | (ids >= num_clusters))
    if outside.size:
        position = int(outside[0])
        raise InputError(
            f"character {text[position]!r} (U+{ord(text[position]):04X}) at position {position} is "
            f"no unit of {num_clusters} clusters; the text and the number of clusters do not belong together"
        )
    return ids


def deduplicate(ids: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Join runs of equal units: `[5, 5, 7, 5]` → `([5, 7, 5], [2, 1, 1])`.

    Returns:
        ids int64 (R,) and durations in frames int64 (R,); `np.repeat(ids, durations)` is the input.
    """
    array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
    if not array.size:
        return array, array.copy()
    starts = np.flatnonzero(np.concatenate(([True], array[1:] != array[:-1])))
    return array[starts], np.diff(np.append(starts, array.size))


def write_character_list(path: str | Path) -> None:
    """Write asr2's `distinct_cjk_token_lists` (`<id> <char>`), always all 20 902 lines.

    asr2 writes only as many as the first k-means had; a later, larger K then silently loses units.
    """
    with atomic_write(path) as stream:
        stream.writelines(f"{unit} {chr(FIRST + unit)}\n" for unit in range(MAX_UNITS))
