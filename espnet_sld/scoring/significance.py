"""Is the difference of two word error rates more than chance? Of methods (over seeds), or of two models.

`compare_methods` speaks about training methods: seeds *and* sentences are resampled. `compare_models` holds
two trained models fixed and resamples sentences: it says nothing about what another seed would have given.
ΔWER is WER(first) − WER(second) in percentage points: negative, the first is better.

Two-level bootstrap. Errors are a table seeds × sentences for each method. A run of one method shares its
seed (initial weights, order of the data) with a run of the other, hence seeds are resampled jointly for
both; all runs decode the same test set, hence sentences are resampled jointly for all runs (crossed, not
nested: sentences that happen to suit one method do not average out over seeds). Noise of single cells is
then counted at both levels, which errs on the side of caution (Owen, 2007, "The pigeonhole bootstrap").

Few seeds. The plain percentile interval is too narrow for n = 8 units, and badly so for 4: the bootstrap's
variance lacks the factor n/(n − 1), and its tails are the normal's, not Student's. The deviations from the
estimate are therefore widened by √(n/(n−1)) · t(n−1)/z, each at the interval's own level, n the number of
seeds; percentiles keep the shape. (Hesterberg, 2015, "What teachers should know about the bootstrap",
reaches the same width by moving the percentiles, which needs tails that 4 seeds do not have.)

p-value. By inversion: the smallest level α at which the (1 − α) interval excludes 0. It cannot be smaller
than what the number of resamples resolves, 2/(R + 1); at that floor it is an upper bound.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.student import widening

METHODS = "the two methods: seeds and sentences resampled"
MODELS = "these two trained models, not the methods behind them: sentences resampled, seeds not"
CELLS = 2_000_000  # resamples × sentences held at once


@dataclass(frozen=True)
class Difference:
    """ΔWER of two methods or models, percentage points, with its uncertainty."""

    delta: float
    interval95: tuple[float, float]
    interval90: tuple[float, float]
    p: float
    p_is_bound: bool  # True: p is at the resolution of the resampling; read "at most"
    about: str
    seeds: int | None
    utterances: int
    words: int
    resamples: int

    def equivalent(self, margin: float) -> bool:
        """Two one-sided tests at 5 % each: the 90 % interval lies within ±margin points."""
        return -margin < self.interval90[0] and self.interval90[1] < margin


def compare_methods(
    errors_first: np.ndarray,
    errors_second: np.ndarray,
    words: np.ndarray,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Two-level bootstrap of ΔWER over seeds and sentences.

    Args:
        errors_first, errors_second: errors (S + I + D), shape (seeds, sentences); the same seed in row s.
        words: reference words, shape (sentences,).
        resamples, seed: of the bootstrap.

    Raises:
        InputError: fewer than two seeds, or no reference words.
        ValueError: shapes disagree.
    """
    first, second = np.asarray(errors_first, float), np.asarray(errors_second, float)
    words = np.asarray(words, float)
    if first.ndim != 2 or first.shape != second.shape or first.shape[1:] != words.shape:
        raise ValueError(f"errors {first.shape} and {second.shape} do not fit words {words.shape}")
    seeds = first.shape[0]
    if seeds < 2:
        raise InputError("a statement about methods needs at least two shared seeds; train another")
    _check_words(words)
    difference = first - second  # (seeds, sentences)
    draw_seeds, draw_sentences = (np.random.default_rng([seed, level]) for level in range(2))
    weights = _multiplicities(draw_seeds, resamples, seeds) / seeds  # (resamples, seeds)
    replicates, start = np.empty(resamples), 0
    for counts in sentence_draws(draw_sentences, resamples, words.size):
        stop = start + len(counts)
        replicates[start:stop] = _ratio(((weights[start:stop] @ difference) * counts).sum(1), counts @ words)
        start = stop
    delta = 100.0 * difference.sum() / (seeds * words.sum())
    return _difference(delta, replicates, units=seeds, about=METHODS, seeds=seeds, words=words)


def compare_models(
    errors_first: np.ndarray,
    errors_second: np.ndarray,
    words: np.ndarray,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Paired bootstrap of ΔWER over sentences (Bisani & Ney, 2004) for one model each.

    Args:
        errors_first, errors_second, words: errors and reference words, each of shape (sentences,).

    Raises:
        InputError: fewer than two sentences (every draw of one is itself), or no reference words.
    """
    first, second = np.asarray(errors_first, float), np.asarray(errors_second, float)
    words = np.asarray(words, float)
    if first.ndim != 1 or first.shape != second.shape or first.shape != words.shape:
        raise ValueError(f"errors {first.shape} and {second.shape} do not fit words {words.shape}")
    if words.size < 2:
        raise InputError("two models cannot be compared on a single utterance; give a larger set")
    _check_words(words)
    difference = first - second
    draws = sentence_draws(np.random.default_rng([seed, 1]), resamples, words.size)
    replicates = np.concatenate([_ratio(counts @ difference, counts @ words) for counts in draws])
    delta = 100.0 * difference.sum() / words.sum()
    return _difference(delta, replicates, units=words.size, about=MODELS, seeds=None, words=words)


def sentence_draws(generator: np.random.Generator, resamples: int, sentences: int) -> Iterator[np.ndarray]:
    """Multiplicities of all resamples, some rows at a time, so that memory stays flat."""
    rows = max(1, CELLS // sentences)
    for start in range(0, resamples, rows):
        yield _multiplicities(generator, min(rows, resamples - start), sentences)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the given order (family-wise error rate)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def verdict(difference: Difference, p_adjusted: float, margin: float, level: float = 0.05) -> str:
    """What may be said of the first against the second, in words.

    "better" or "worse" if the adjusted p is below `level`; "equivalent within <margin>" if the 90 % interval
    lies within the margin; both, if both hold; else "undecided".
    """
    equivalent = difference.equivalent(margin)
    if p_adjusted < level:
        word = "better" if difference.delta < 0 else "worse"
        return f"{word}, by less than {margin:g}" if equivalent else word
    return f"equivalent within {margin:g}" if equivalent else "undecided"


def _check_words(words: np.ndarray) -> None:
    if words.sum() <= 0:
        raise InputError("no reference words: nothing to compare; give a set with references")


def _multiplicities(generator: np.random.Generator, draws: int, units: int) -> np.ndarray:
    """How often each of `units` is drawn in `units` draws with replacement: (draws, units), float32."""
    picked = generator.integers(0, units, size=(draws, units))
    picked += np.arange(draws)[:, None] * units
    return np.bincount(picked.ravel(), minlength=draws * units).reshape(draws, units).astype(np.float32)


def _ratio(errors: np.ndarray, words: np.ndarray) -> np.ndarray:
    # A draw can consist of empty references alone in tiny sets; it then says nothing.
    return 100.0 * np.divide(errors, words, out=np.zeros(len(words)), where=words > 0)


def _difference(
    delta: float, replicates: np.ndarray, *, units: int, about: str, seeds: int | None, words: np.ndarray
) -> Difference:
    spread = _Spread(delta, replicates, units)
    p, bound = spread.p_value()
    return Difference(
        delta=float(delta),
        interval95=spread.interval(0.05),
        interval90=spread.interval(0.10),
        p=p,
        p_is_bound=bound,
        about=about,
        seeds=seeds,
        utterances=words.size,
        words=int(words.sum()),
        resamples=len(replicates),
    )


class _Spread:
    """Percentiles of the replicates around the estimate, widened for the number of units."""

    def __init__(self, delta: float, replicates: np.ndarray, units: int):
        self.delta, self.units = delta, units
        self.deviations = np.sort(replicates - delta)

    def interval(self, level: float) -> tuple[float, float]:
        """The (1 − level) interval."""
        low, high = np.quantile(self.deviations, [level / 2.0, 1.0 - level / 2.0])
        factor = widening(level, self.units)
        return float(self.delta + factor * low), float(self.delta + factor * high)

    def p_value(self) -> tuple[float, bool]:
        """The smallest level whose interval excludes 0, and whether it is only a bound."""
        if self.delta == 0.0:
            return 1.0, False
        low, high = 2.0 / (len(self.deviations) + 1), 1.0
        if self._excludes_zero(low):
            return low, True
        for _ in range(40):
            middle = (low + high) / 2.0
            if self._excludes_zero(middle):
                high = middle
            else:
                low = middle
        return high, False

    def _excludes_zero(self, level: float) -> bool:
        low, high = self.interval(level)
        return low > 0.0 or high < 0.0
