"""One decoded sequence, and whether it runs in circles."""

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_CYCLE = 32
REPEATS = 6  # "five five five five five" is a legitimate digit string
REPEATS_AT_BOUND = 3  # a cycle that was only stopped by the length bound


@dataclass(frozen=True)
class Hypothesis:
    """A generated sequence.

    Attributes:
        ids: joint ids without the end token.
        score: Σ log p of the generated tokens, end token included; p is renormalised over the allowed ids.
            With a length penalty the sum is divided by (number of generated tokens)^penalty.
        stopped: "end" (the end token came) or "length" (the bound came first).
        loops: some n-gram repeats so often that the model is going in circles.
    """

    ids: tuple[int, ...]
    score: float
    stopped: str
    loops: bool

    @classmethod
    def make(cls, ids: Sequence[int], score: float, stopped: str) -> "Hypothesis":
        """Build one and look for loops."""
        repeats = REPEATS_AT_BOUND if stopped == "length" else REPEATS
        return cls(tuple(ids), float(score), stopped, has_loop(ids, repeats))


def has_loop(ids: Sequence[int], repeats: int) -> bool:
    """True if some n-gram (n up to 32) stands `repeats` times in a row."""
    for cycle in range(1, min(LONGEST_CYCLE, len(ids) // repeats) + 1):
        wanted, run = cycle * (repeats - 1), 0
        for position in range(cycle, len(ids)):
            run = run + 1 if ids[position] == ids[position - cycle] else 0
            if run >= wanted:
                return True
    return False
