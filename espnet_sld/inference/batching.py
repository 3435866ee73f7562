"""Which utterances are decoded together: alike in length, at most so many token places at once."""

from collections.abc import Sequence


def decode_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group indices by length so that rows × longest ≤ `budget` places.

    Args:
        lengths: places that each row needs (prompt, output, times the beam).
        budget: places of a batch; a row that is longer than this gets a batch of its own.

    Returns:
        lists of indices, longest rows first (too large a budget shows at once); every index once.
    """
    if budget < 1:
        raise ValueError(f"decoding budget must be positive, not {budget}")
    batches: list[list[int]] = []
    current: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if current and (len(current) + 1) * lengths[current[0]] > budget:
            batches.append(current)
            current = []
        current.append(index)
    return [*batches, current] if current else batches
