"""Token files counted, and their charts: how often tokens occur, how long sequences are."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.scoring.report.charts import Line, bar_chart, line_chart

FIRST_UNIT = 0x4E00  # chr(0x4E00 + id) is a unit's character
LINES = 20_000  # utterances of the training set that are counted
BINS = 24
RANKS = 200  # points of a chart of use


def count_units(path: Path, num_clusters: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """How often units occur (K,), units an utterance (U,), of the first utterances; None for other data."""
    if not path.is_file():
        return None, None
    counts = np.zeros(int(num_clusters or 0) or 1, np.int64)
    lengths = []
    with path.open(encoding="utf-8") as stream:
        for line in islice(stream, LINES):
            units = line.rstrip("\n").partition(" ")[2].replace(" ", "")
            ids = np.frombuffer(units.encode("utf-32-le"), np.uint32).astype(np.int64) - FIRST_UNIT
            if ids.size and ids.min() < 0:  # another kind of data
                return None, None
            counts = _added(counts, ids)
            lengths.append(ids.size)
    return counts, np.array(lengths, np.int64)


def count_ids(path: Path, size: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The same of a file with numbers (`utt 17 5 …`): image tokens."""
    if not path.is_file():
        return None, None
    counts, lengths = np.zeros(int(size or 0) or 1, np.int64), []
    with path.open(encoding="utf-8") as stream:
        for line in islice(stream, LINES):
            words = line.split()[1:]
            if not all(word.isdigit() for word in words):
                return None, None
            ids = np.array(words, np.int64)
            counts = _added(counts, ids)
            lengths.append(ids.size)
    return counts, np.array(lengths, np.int64)


def count_words(path: Path) -> tuple[Counter[str], np.ndarray]:
    """Word → occurrences, words an utterance (U,), of the first utterances; nothing without the file."""
    words: Counter[str] = Counter()
    lengths = []
    if path.is_file():
        with path.open(encoding="utf-8") as stream:
            for line in islice(stream, LINES):
                found = line.split()[1:]
                words.update(found)
                lengths.append(len(found))
    return words, np.array(lengths, np.int64)


def read_lengths(path: Path) -> np.ndarray | None:
    """The first lengths of a shape file (`utt length[,…]`), or None without it."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as stream:
        values = [int(line.split()[1].partition(",")[0]) for line in islice(stream, LINES)]
    return np.array(values, np.int64)


def use_chart(title: str, counts: np.ndarray, what: str, colour: int = 5, of: int | None = None) -> str:
    """Share of all tokens that the most frequent ones have: counts (K,); `of`: the vocabulary's size."""
    used = np.sort(counts)[::-1]
    share = 100.0 * np.cumsum(used) / max(used.sum(), 1)
    ranks = np.unique(np.linspace(1, len(used), min(len(used), RANKS)).astype(int))
    line = Line(what, ranks.tolist(), share[ranks - 1].tolist(), colour, markers=False)
    known = of or len(counts)
    return line_chart(
        f"{title}: {int((counts > 0).sum())} of {known} {what} occur", [line],
        x_label=f"most frequent {what}", y_label=f"% of all {what}", zero=True,
    )  # fmt: skip


def histogram(title: str, lengths: np.ndarray) -> str:
    """Lengths (U,) in bins."""
    if not len(lengths):
        return ""
    edges = np.unique(
        np.linspace(lengths.min(), lengths.max() + 1, min(BINS, np.ptp(lengths) + 1) + 1).astype(int)
    )
    heights, _ = np.histogram(lengths, edges)
    bars = [(str(edge), int(height)) for edge, height in zip(edges[:-1], heights, strict=True)]
    mean = f"mean {lengths.mean():.1f}, longest {lengths.max()}"
    return bar_chart(title, bars, x_label="length", y_label=mean)


def _added(counts: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Counts with those of `ids` added; longer if an id is beyond them."""
    found = np.bincount(ids, minlength=len(counts))
    found[: len(counts)] += counts
    return found
