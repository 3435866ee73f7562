"""A peaked trigram grammar over digits: what makes a language model worth having on digit strings.

The first two digits are uniform. Every further one has one likely successor, two less likely ones and seven
unlikely ones; which these are depends on the digit before it and on whether the one before that is even or
odd, so that a bigram model knows less than a trigram one. (Of real recordings' digits no order is known; this
one is ours.)
"""

import math
import random
from collections.abc import Sequence

# P(successor of rank r | two digits before), r = 0 … 9
RANKS = (0.78, 0.10, 0.04, *([0.08 / 7] * 7))
SEED = "digit grammar 1"  # the grammar is one, whatever the seed of the recordings
MIN_DIGITS, MAX_DIGITS = 5, 8  # of a string, uniform

Grammar = tuple[tuple[tuple[float, ...], ...], ...]  # [a][b][c] = P(c | a b)


def grammar() -> Grammar:
    """P(c | a b) for all digits. For each parity of a and each rank, the successor is a bijection of b."""
    table = [[[0.0] * 10 for _ in range(10)] for _ in range(10)]
    for parity in range(2):
        rng = random.Random(f"{SEED} {parity}")
        names, columns, shifts = (rng.sample(range(10), 10) for _ in range(3))
        for before in range(parity, 10, 2):
            for last in range(10):
                for rank, probability in enumerate(RANKS):
                    table[before][last][names[(columns[last] + shifts[rank]) % 10]] = probability
    return tuple(tuple(tuple(row) for row in rows) for rows in table)


def draw(rng: random.Random, table: Grammar | None) -> tuple[int, ...]:
    """A string of 5–8 digits by the grammar; None = all digits uniform, the control of equal lengths."""
    digits: list[int] = []
    for place in range(rng.randint(MIN_DIGITS, MAX_DIGITS)):
        if table is None or place < 2:
            digits.append(rng.randrange(10))
        else:
            digits.append(rng.choices(range(10), table[digits[-2]][digits[-1]])[0])
    return tuple(digits)


def log_probability(digits: Sequence[int], table: Grammar) -> float:
    """ln P(digits | their number)."""
    total = -min(len(digits), 2) * math.log(10)
    for a, b, c in zip(digits, digits[1:], digits[2:]):  # noqa: B905 (the lengths differ on purpose)
        total += math.log(table[a][b][c])
    return total


def perplexity(table: Grammar) -> float:
    """Exact perplexity per digit of the grammar's strings, their first two (uniform) digits included.

    exp(E[−ln P(string | length)] / E[length]), computed by passing the probabilities of digit pairs forward.
    """
    pairs = [[0.01] * 10 for _ in range(10)]
    nats = [0.0, math.log(10), 2 * math.log(10)]  # expected −ln P of the first n digits
    for _ in range(2, MAX_DIGITS):
        entropy = 0.0
        following = [[0.0] * 10 for _ in range(10)]
        for a in range(10):
            for b in range(10):
                for c, probability in enumerate(table[a][b]):
                    following[b][c] += pairs[a][b] * probability
                    entropy -= pairs[a][b] * probability * math.log(probability)
        pairs = following
        nats.append(nats[-1] + entropy)
    lengths = range(MIN_DIGITS, MAX_DIGITS + 1)
    return math.exp(sum(nats[length] for length in lengths) / sum(lengths))


def conditional_perplexity() -> float:
    """Exact perplexity of a digit given the two before it: all have the probabilities `RANKS`."""
    return math.exp(-sum(probability * math.log(probability) for probability in RANKS))
