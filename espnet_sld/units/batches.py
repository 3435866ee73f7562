"""Forming batches by the samples that they hold once padded."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

# Padded seconds that a front-end gets at once unless told otherwise; more leave a CPU's caches.
CPU_SECONDS, GPU_SECONDS = 8.0, 300.0
WINDOW = 8  # batches' worth of audio that is sorted by length
OVERHEAD = 0.03  # what a batch costs besides its samples, as a share of the budget


class HasLength(Protocol):
    """What is batched: it has a `length`."""

    length: int


Item = TypeVar("Item", bound=HasLength)


def windows(items: Iterable[Item], samples: float) -> Iterator[list[Item]]:
    """Cut a stream into runs of at least `samples` samples (the last may have fewer)."""
    window: list[Item] = []
    held = 0
    for item in items:
        window.append(item)
        held += item.length
        if held >= samples:
            yield window
            window, held = [], 0
    if window:
        yield window


def padded_batches(lengths: Sequence[int], budget: float) -> list[list[int]]:
    """Indices in batches of similar length, longest first: largest length × count is at most `budget`.

    Of all such batches of neighbours in length, those with the fewest padded samples, where a batch counts
    `OVERHEAD` × budget more. What is longer than the budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    # Of the best batches of the first n utterances: their cost, and where the last of them starts.
    cost, begin = [0.0], [0]
    for end in range(1, len(order) + 1):
        best, first = math.inf, end - 1
        for start in range(end - 1, -1, -1):
            padded = lengths[order[start]] * (end - start)
            if padded > budget and start < end - 1:
                break  # and those that start earlier are longer still
            if cost[start] + padded < best:
                best, first = cost[start] + padded, start
        cost.append(best + OVERHEAD * budget)
        begin.append(first)
    batches, end = [], len(order)
    while end:
        batches.append(order[begin[end] : end])
        end = begin[end]
    return batches[::-1]
