"""Counts against a plain restatement of the edit distance, and against jiwer."""

import random

import jiwer
import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.scoring.error_rates import BATCH, count_character_errors, count_word_errors


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Wagner & Fischer's table, cell by cell."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, 1):
        previous, row = row, [i] + [0] * len(hypothesis)
        for j, found in enumerate(hypothesis, 1):
            row[j] = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (wanted != found))
    return row[-1]


def random_pairs(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    generator = random.Random(seed)
    vocabulary = ["one", "two", "three", "ünder", "水", "don't", "ß", "a"]
    references, hypotheses = [], []
    for _ in range(count):
        words = generator.choices(vocabulary, k=generator.randint(1, 9))
        heard = [w if generator.random() < 0.7 else generator.choice(vocabulary) for w in words]
        heard = [w for w in heard if generator.random() < 0.85]
        if generator.random() < 0.3:
            heard.insert(generator.randint(0, len(heard)), generator.choice(vocabulary))
        references.append(" ".join(words))
        hypotheses.append(" ".join(heard))
    return references, hypotheses


def test_word_counts_are_a_shortest_alignment():
    references, hypotheses = random_pairs(400)
    counts = count_word_errors(references, hypotheses)
    for n, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        reference, hypothesis = reference.split(), hypothesis.split()
        assert counts.errors[n] == edit_distance(reference, hypothesis)
        assert counts.reference[n] == len(reference)
        assert counts.insertions[n] - counts.deletions[n] == len(hypothesis) - len(reference)
    for part in (counts.hits, counts.substitutions, counts.insertions, counts.deletions):
        assert (part >= 0).all()


def test_word_counts_equal_jiwer_utterance_by_utterance():
    references, hypotheses = random_pairs(400, seed=1)
    counts = count_word_errors(references, hypotheses)
    for n, pair in enumerate(zip(references, hypotheses, strict=True)):
        expected = jiwer.process_words(*pair)
        assert counts.hits[n] == expected.hits
        assert counts.substitutions[n] == expected.substitutions
        assert counts.insertions[n] == expected.insertions
        assert counts.deletions[n] == expected.deletions


def test_totals_and_rates_equal_jiwer_across_batches():
    references, hypotheses = random_pairs(2 * BATCH + 7, seed=2)
    expected = jiwer.process_words(references, hypotheses)
    counts = count_word_errors(references, hypotheses)
    assert int(counts.substitutions.sum()) == expected.substitutions
    assert counts.rate == pytest.approx(100 * expected.wer)
    errors, characters = count_character_errors(references, hypotheses)
    assert errors.sum() / characters.sum() == pytest.approx(jiwer.cer(references, hypotheses))


def test_character_errors_are_edit_distances_over_code_points_with_spaces():
    references, hypotheses = random_pairs(100, seed=3)
    errors, characters = count_character_errors(references, hypotheses)
    for n, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        assert errors[n] == edit_distance(list(reference), list(hypothesis))
        assert characters[n] == len(reference)


def test_rate_is_percent_and_may_exceed_100():
    assert count_word_errors(["a b c d"], ["a b c x"]).rate == 25.0
    assert count_word_errors(["a"], ["b c d"]).rate == 300.0


def test_empty_reference_makes_every_hypothesis_word_an_insertion():
    counts = count_word_errors(["", "a b"], ["x y z", ""])
    assert counts.insertions.tolist() == [3, 0]
    assert counts.deletions.tolist() == [0, 2]
    assert counts.substitutions.tolist() == [0, 0]
    assert counts.rate == 250.0


def test_only_empty_references_have_no_rate():
    with pytest.raises(InputError, match="empty"):
        _ = count_word_errors([""], [""]).rate


def test_surplus_white_space_is_no_error():
    assert count_word_errors(["a  b "], [" a\tb"]).errors.tolist() == [0]
    assert count_character_errors(["a  b "], [" a b"])[0].tolist() == [0]


def test_case_and_accents_are_compared_as_they_are():
    assert count_word_errors(["Käse 水"], ["käse 水"]).substitutions.tolist() == [1]


def test_no_utterances_give_empty_counts():
    counts = count_word_errors([], [])
    assert counts.errors.shape == (0,)
    assert counts.errors.dtype == np.int64


def test_unequal_numbers_of_texts_are_refused():
    with pytest.raises(ValueError, match="2 references"):
        count_word_errors(["a", "b"], ["a"])
