"""Bootstrap, Holm's correction and verdicts."""

import itertools

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.scoring import significance
from espnet_sld.scoring.contrasts import contrast_rows
from espnet_sld.scoring.runs import Runs, SetRun
from espnet_sld.scoring.significance import MODELS, Difference, compare_methods, compare_models, holm, verdict
from espnet_sld.scoring.student import two_sided_quantile


def simulated(generator, seeds, sentences, effect, seed_sd=0.05, sentence_sd=0.2, cell_sd=0.05):
    """Differences of errors per sentence around `effect`, with noise of seeds, sentences and cells."""
    return (
        effect
        + generator.normal(0, seed_sd, (seeds, 1))
        + generator.normal(0, sentence_sd, (1, sentences))
        + generator.normal(0, cell_sd, (seeds, sentences))
    )


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [4, 8])
def test_interval_covers_a_known_effect_also_with_few_seeds(seeds):
    generator = np.random.default_rng(0)
    runs, covered = 200, 0
    words = np.full(60, 5)
    for run in range(runs):
        first = simulated(generator, seeds, 60, effect=-0.1, seed_sd=0.1)
        result = compare_methods(first, np.zeros_like(first), words, resamples=300, seed=run)
        covered += result.interval95[0] <= -2.0 <= result.interval95[1]
    assert covered / runs >= 0.92


@pytest.mark.slow
def test_without_an_effect_small_p_values_are_rare():
    generator = np.random.default_rng(1)
    words = np.full(60, 5)
    p = []
    for run in range(200):
        first = simulated(generator, 6, 60, effect=0.0, sentence_sd=0.0)
        p.append(compare_methods(first, np.zeros_like(first), words, resamples=300, seed=run).p)
    assert np.mean(np.array(p) < 0.05) <= 0.08
    assert 0.3 <= np.mean(p) <= 0.8


def test_large_effect_is_found_with_the_right_sign():
    generator = np.random.default_rng(2)
    words = generator.integers(3, 9, 300)
    first, second = generator.binomial(words, 0.04, (8, 300)), generator.binomial(words, 0.14, (8, 300))
    result = compare_methods(first, second, words, resamples=1000)
    assert result.delta == pytest.approx(100 * (first - second).sum() / (8 * words.sum()))
    assert result.interval95[1] < 0 and result.p < 0.01
    assert verdict(result, result.p, 0.5) == "better"
    mirrored = compare_methods(second, first, words, resamples=1000)
    assert mirrored.delta == -result.delta
    assert verdict(mirrored, mirrored.p, 0.5) == "worse"


def test_identical_methods_differ_by_nothing_and_are_equivalent():
    errors = np.random.default_rng(3).poisson(0.2, (4, 50))
    result = compare_methods(errors, errors, np.full(50, 5), resamples=200)
    assert result.delta == 0.0 and result.interval95 == (0.0, 0.0) and result.p == 1.0
    assert verdict(result, result.p, 0.5) == "equivalent within 0.5"


def test_vectorised_replicates_have_the_mean_and_variance_of_all_draws_written_out(monkeypatch):
    difference = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, -1.0]])
    words = np.array([4.0, 4.0, 4.0])  # equal, so that the ratio is linear
    every = [
        100 * difference[np.ix_(seeds, sentences)].mean() / 4
        for seeds in itertools.product(range(2), repeat=2)
        for sentences in itertools.product(range(3), repeat=3)
    ]
    seen = {}
    monkeypatch.setattr(
        significance, "_difference", lambda delta, replicates, **_: seen.update(replicates=replicates)
    )
    compare_methods(difference, np.zeros((2, 3)), words, resamples=100_000)
    assert seen["replicates"].mean() == pytest.approx(np.mean(every), abs=0.2)
    assert seen["replicates"].std() == pytest.approx(np.std(every), rel=0.02)


def test_p_value_and_interval_tell_the_same_story():
    generator = np.random.default_rng(4)
    words = np.full(80, 5)
    for effect in (0.0, 0.05, 0.1, 0.2):
        first = simulated(generator, 6, 80, effect)
        result = compare_methods(first, np.zeros_like(first), words, resamples=2000)
        assert (result.p < 0.05) == (result.interval95[0] > 0 or result.interval95[1] < 0)
        assert result.interval95[0] <= result.interval90[0] <= result.interval90[1] <= result.interval95[1]


def test_bootstrap_is_reproducible_by_seed_and_independent_of_chunks(monkeypatch):
    errors = np.random.default_rng(5).poisson(0.3, (2, 4, 70))
    words = np.full(70, 5)
    whole = compare_methods(*errors, words, resamples=500, seed=7)
    monkeypatch.setattr(significance, "CELLS", 70 * 33)
    assert compare_methods(*errors, words, resamples=500, seed=7) == whole
    assert compare_methods(*errors, words, resamples=500, seed=8) != whole


def test_one_seed_is_no_statement_about_methods():
    with pytest.raises(InputError, match="two shared seeds"):
        compare_methods(np.ones((1, 5)), np.ones((1, 5)), np.ones(5))


def test_test_of_two_models_says_that_it_is_not_about_methods():
    generator = np.random.default_rng(6)
    words = np.full(300, 5)
    result = compare_models(generator.poisson(0.1, 300), generator.poisson(0.8, 300), words, resamples=500)
    assert result.about == MODELS and result.seeds is None
    assert result.interval95[1] < 0 and result.p_is_bound


def test_one_utterance_is_no_statement_about_models():
    """Every draw of it is itself: the interval would have no width, and any difference be significant."""
    with pytest.raises(InputError, match="a single utterance"):
        compare_models(np.array([1]), np.array([2]), np.array([10]))


def test_a_set_of_one_utterance_does_not_stop_a_table():
    run = SetRun(10.0, np.array([1]), None, None)
    runs = Runs({("a", "dev"): {0: run}, ("b", "dev"): {0: run}}, {}, {"dev": np.array([10])})
    (entry,) = contrast_rows(runs, [("a", "b")], "dev", margin=0.5, resamples=100, seed=0)
    assert entry["difference"] is None and entry["verdict"] == "not tested: one seed, one utterance"


def test_paired_test_of_models_uses_the_pairing():
    """Sentences differ widely in difficulty, the models by one error in every fifth: pairing finds it."""
    hard = np.random.default_rng(7).poisson(5.0, 200)
    better = hard - (np.arange(200) % 5 == 0) * (hard > 0)
    assert compare_models(better, hard, np.full(200, 10), resamples=500).p < 0.01


def test_holm_equals_a_worked_example():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 → 0.02, 0.03, 0.06, 0.04 → made monotone.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def difference(delta, interval90):
    return Difference(delta, interval90, interval90, 0.5, False, "", 8, 100, 500, 1000)


@pytest.mark.parametrize(
    ("delta", "interval90", "p", "words"),
    [
        (-2.0, (-3.0, -1.0), 0.01, "better"),
        (2.0, (1.0, 3.0), 0.01, "worse"),
        (-0.2, (-0.3, -0.1), 0.01, "better, by less than 0.5"),
        (0.1, (-0.3, 0.4), 0.5, "equivalent within 0.5"),
        (0.1, (-0.3, 0.6), 0.5, "undecided"),
        (0.1, (-0.5, 0.4), 0.5, "undecided"),
        (-2.0, (-3.0, -1.0), 0.06, "undecided"),
    ],
)
def test_verdict_in_words(delta, interval90, p, words):
    assert verdict(difference(delta, interval90), p, 0.5) == words


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (7, 2.36462), (8, 2.30600), (30, 2.04227)]
)
def test_students_quantiles_are_those_of_the_printed_tables(freedom, t):
    assert two_sided_quantile(0.05, freedom) == pytest.approx(t, abs=5e-5)


def test_students_quantile_meets_the_normal_where_it_is_replaced():
    assert two_sided_quantile(0.05, 999) == pytest.approx(two_sided_quantile(0.05, 1000), rel=2e-3)
