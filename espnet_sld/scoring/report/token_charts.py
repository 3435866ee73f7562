"""Token files counted, their charts (how often tokens occur, how long sequences are), and padding."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.scoring.report.charts import Line, bar_chart, line_chart
from espnet_sld.scoring.report.experiment import Experiment

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
            counts = add_counts(counts, np.bincount(ids))
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
            counts = add_counts(counts, np.bincount(ids))
            lengths.append(ids.size)
    return counts, np.array(lengths, np.int64)


def add_counts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Counts (K,) and (K',) of ids added up, (max(K, K'),): one text may have larger ids."""
    total = np.zeros(max(len(first), len(second)), np.int64)
    for counts in (first, second):
        total[: len(counts)] += counts
    return total


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


def padding_words(experiment: Experiment) -> str:
    """`1.50 % on average, 1.20 % at the end`: of training batches; empty where it was not written down."""
    padding = experiment.curves.get("train", {}).get("padding")
    if padding is None:
        return ""
    share, last = float(np.nanmean(padding.values)), float(padding.values[-1])
    return f"{share:.2f} % on average, {last:.2f} % at the end"
