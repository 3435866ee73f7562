"""The trigram grammar of digit strings: its probabilities, its exact perplexity, and the sets made by it."""

import itertools
import math
import random
from collections import Counter

import pytest

from espnet_sld.bin import prepare_fsdd
from espnet_sld.corpus import digit_grammar, fsdd
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.errors import InputError

COUNTS = {"train": 40, "dev": 20, "test": 50}


@pytest.fixture(scope="module")
def table():
    return digit_grammar.grammar()


def test_every_pair_has_one_likely_successor_and_each_digit_is_one_of_every_rank(table):
    for a, b in itertools.product(range(10), repeat=2):
        assert sorted(table[a][b], reverse=True) == pytest.approx(digit_grammar.RANKS)
        assert math.fsum(table[a][b]) == pytest.approx(1)
        assert table[a][b] == table[(a + 2) % 10][b]  # the parity of a alone counts
    for a in range(2):
        assert sorted(max(range(10), key=table[a][b].__getitem__) for b in range(10)) == list(range(10))
    assert any(table[0][b] != table[1][b] for b in range(10))


def test_the_perplexity_is_that_of_all_strings_and_under_four(table, monkeypatch):
    monkeypatch.setattr(digit_grammar, "MIN_DIGITS", 2)
    monkeypatch.setattr(digit_grammar, "MAX_DIGITS", 4)
    nats = 0.0
    for length in (2, 3, 4):
        total = 0.0
        for digits in itertools.product(range(10), repeat=length):
            logarithm = digit_grammar.log_probability(digits, table)
            total += math.exp(logarithm)
            nats -= math.exp(logarithm) * logarithm
        assert total == pytest.approx(1)
    assert digit_grammar.perplexity(table) == pytest.approx(math.exp(nats / 9))
    monkeypatch.undo()
    assert digit_grammar.perplexity(table) == pytest.approx(3.8147, abs=1e-4)
    assert digit_grammar.conditional_perplexity() == pytest.approx(2.4857, abs=1e-4)


@pytest.mark.slow
def test_drawn_strings_follow_the_grammar_and_the_control_does_not(table):
    drawn, control = (
        [digit_grammar.draw(random.Random(f"{which} {i}"), which) for i in range(3000)]
        for which in (table, None)
    )
    for strings in (drawn, control):
        assert Counter(map(len, strings)).keys() == {5, 6, 7, 8}
    digits = sum(map(len, drawn))
    measured = math.exp(-sum(digit_grammar.log_probability(s, table) for s in drawn) / digits)
    assert measured == pytest.approx(digit_grammar.perplexity(table), rel=0.03)
    surprise = -sum(digit_grammar.log_probability(s, table) for s in control) / sum(map(len, control))
    assert math.exp(surprise) > 10
    counts = Counter(digit for string in control for digit in string)
    assert max(counts.values()) < 1.1 * min(counts.values())


def test_sets_join_real_recordings_of_their_split_in_the_order_of_the_grammar(fsdd_dir, table):
    plan = fsdd.plan(fsdd.find_recordings(fsdd_dir), COUNTS, seed=0, order="trigram")
    assert set(plan) == {"train", "dev", "test_trigram", "test_uniform"}
    allowed = {"train": range(10, 50), "dev": fsdd.DEV_INDICES, "test_trigram": fsdd.TEST_INDICES}
    for name, indices in allowed.items():
        strings = [u for u in plan[name] if len(u.tokens) > 1]
        assert all(token.index in indices for u in strings for token in u.tokens)
        assert all(len({token.speaker for token in u.tokens}) == 1 for u in strings)
        assert all(5 <= len(u.tokens) <= 8 and len(u.gaps) == len(u.tokens) - 1 for u in strings)
        likely = [
            table[a.digit][b.digit][c.digit] == max(table[a.digit][b.digit])
            for u in strings
            for a, b, c in zip(u.tokens, u.tokens[1:], u.tokens[2:], strict=False)
        ]
        assert 0.68 < sum(likely) / len(likely) < 0.88  # 0.78
    assert len(plan["train"]) == 2000 + 40 and len(plan["dev"]) == 20
    control = fsdd.plan(fsdd.find_recordings(fsdd_dir), COUNTS, seed=0, order="control")
    assert set(control) == {"train", "dev", "test_uniform"}
    assert control["test_uniform"] == plan["test_uniform"]
    assert plan["test_uniform"][0].transcript.split() == [
        DIGITS[token.digit] for token in plan["test_uniform"][0].tokens
    ]


def test_a_recording_comes_again_only_after_all_others_of_its_digit(fsdd_dir):
    recordings = fsdd.find_recordings(fsdd_dir)
    few = [token for group in recordings.values() for token in group[:2] if token.speaker in fsdd.SPEAKERS]
    for utterance in fsdd.ordered_strings("x", few, 300, 0, None):
        for digit in range(10):
            used = Counter(token for token in utterance.tokens if token.digit == digit)
            if sum(used.values()) > 1:
                assert len(used) == 2 and max(used.values()) - min(used.values()) <= 1


def test_an_unknown_order_is_refused(fsdd_dir):
    with pytest.raises(InputError, match="order of digits 'bigram'"):
        fsdd.plan(fsdd.find_recordings(fsdd_dir), COUNTS, 0, order="bigram")


def test_the_command_says_the_exact_perplexity(fsdd_dir, tmp_path, capsys):
    sizes = ["--num_train_strings", "1", "--num_dev_strings", "5", "--num_test_strings", "5"]
    few = tmp_path / "few/recordings"
    few.mkdir(parents=True)
    for path in (fsdd_dir / "recordings").iterdir():
        if path.suffix == ".wav" and int(path.stem.split("_")[2]) < 11:
            (few / path.name).symlink_to(path.resolve())
    prepare_fsdd.main(
        ["--fsdd_dir", str(few.parent), "--data_dir", str(tmp_path / "data"), "--order", "trigram", *sizes]
    )
    assert "exact perplexity 3.815 a digit" in capsys.readouterr().out
    assert len((tmp_path / "data/test_trigram/text").read_text().splitlines()) == 5
