"""Confidence intervals of error rates: a bootstrap over utterances, as in `scoring.significance`."""

import math
from collections.abc import Sequence

import numpy as np

from espnet_sld.scoring.significance import sentence_draws
from espnet_sld.scoring.student import widening

LEVELS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.999)


def rate_intervals(
    errors: np.ndarray, lengths: np.ndarray, *, resamples: int = 10_000, seed: int = 0, level: float = 0.05
) -> list[tuple[float, float]]:
    """(1 − level) intervals of R error rates on the same utterances, in percent.

    The same draws serve all systems. For one system this is `compare_models(errors, 0, lengths)`: percentiles
    of resampled rates around the estimate, widened for the number of utterances, never below 0.

    Args:
        errors: (R, N) of each system and utterance. lengths: (N,) reference words or characters.
        resamples, seed: of the bootstrap.
    """
    errors, lengths = np.asarray(errors, float), np.asarray(lengths, float)
    systems, utterances = errors.shape
    if not utterances or lengths.sum() <= 0:
        return [(math.nan, math.nan)] * systems
    replicates, start = np.empty((resamples, systems)), 0
    for counts in sentence_draws(np.random.default_rng([seed, 1]), resamples, utterances):
        words, sums = counts @ lengths, counts @ errors.T
        whole = np.where(words > 0, words, 1.0)[:, None]
        replicates[start : start + len(counts)] = np.where(words[:, None] > 0, 100.0 * sums / whole, 0.0)
        start += len(counts)
    rates = 100.0 * errors.sum(axis=1) / lengths.sum()
    low, high = np.quantile(replicates - rates, [level / 2.0, 1.0 - level / 2.0], axis=0)
    factor = widening(level, utterances)
    return [
        (max(0.0, float(rate + factor * a)), float(rate + factor * b))
        for rate, a, b in zip(rates, low, high, strict=True)
    ]


def widening_table(units: int, levels: Sequence[float] = LEVELS) -> list[list[float]]:
    """[level, factor] at some levels, for the page's own bootstrap, which interpolates between them."""
    return [[level, round(widening(level, units), 6)] for level in levels]
