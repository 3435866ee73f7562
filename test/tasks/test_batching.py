"""The batch sampler: exactly once per pass, little padding, restorable anywhere."""

import itertools
import logging

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.tasks.batching import TokenBatchSampler, fixed_batches, largest_batch, padding_share


def realistic_lengths(count: int, mean: float = 60.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.maximum(5, rng.gamma(4.0, mean / 4.0, count)).astype(int)


@pytest.mark.parametrize(("count", "bins", "mean"), [(2400, 3000, 60.0), (20000, 20000, 350.0)])
def test_padding_is_at_most_five_percent_on_realistic_lengths(count: int, bins: int, mean: float) -> None:
    sampler = TokenBatchSampler(realistic_lengths(count, mean), bins)
    for number in range(2):
        assert padding_share(sampler.pass_batches(1, number), sampler.lengths) <= 0.05


def test_every_utterance_occurs_exactly_once_in_a_pass_and_passes_differ() -> None:
    sampler = TokenBatchSampler(realistic_lengths(500), 1000)
    first = sampler.pass_batches(1, 0)
    second = sampler.pass_batches(1, 1)
    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(500))
    members = {frozenset(batch.tolist()) for batch in first}
    assert sum(frozenset(batch.tolist()) in members for batch in second) < len(second) / 4


def test_no_batch_exceeds_the_budget_and_a_too_long_utterance_is_alone(caplog) -> None:
    lengths = np.array([10, 2000, 12, 11, 9, 30])
    with caplog.at_level(logging.WARNING):
        sampler = TokenBatchSampler(lengths, 64)
    assert "longer than batch_bins=64" in caplog.text
    for batch in sampler.pass_batches(1, 0):
        assert lengths[batch].max() * len(batch) <= 64 or batch.tolist() == [1]


@pytest.mark.parametrize("group", [1, 3, 4])
def test_steps_run_over_the_end_of_a_pass_without_dropping_anything(group: int) -> None:
    sampler = TokenBatchSampler(realistic_lengths(50), 500, group=group)
    size = len(sampler.pass_batches(1, 0))
    stream = [sampler.next_step() for _ in range(3 * size)]
    assert all(len(step) == group for step in stream)
    flat = list(itertools.chain.from_iterable(stream))
    assert sorted(np.concatenate(flat[:size])) == list(range(50))
    following = len(TokenBatchSampler(realistic_lengths(50), 500).pass_batches(1, 1))
    assert sorted(np.concatenate(flat[size : size + following])) == list(range(50))


@pytest.mark.parametrize("bins", [5, 200, 900, 10**6])
def test_no_pass_has_a_larger_batch_than_the_largest(bins: int) -> None:
    lengths = realistic_lengths(60)

    def size(batch) -> int:
        return int(lengths[batch].max()) * len(batch)

    largest = largest_batch(lengths, bins)
    assert size(largest) <= max(bins, lengths.max()) and len(set(largest.tolist())) == len(largest)
    sampler = TokenBatchSampler(lengths, bins, length_noise=0.5)
    seen = [size(batch) for number in range(30) for batch in sampler.pass_batches(1, number)]
    assert max(seen) <= size(largest)


def test_curriculum_uses_the_shortest_share_then_starts_a_pass_over_everything() -> None:
    lengths = np.arange(1, 101)
    sampler = TokenBatchSampler(lengths, 300, group=2, curriculum_portion=0.4, curriculum_steps=7)
    early = [index for _ in range(7) for batch in sampler.next_step() for index in batch]
    assert max(lengths[early]) <= 40
    size = len(sampler.pass_batches(1, 0))
    late = list(itertools.chain.from_iterable(sampler.next_step() for _ in range(size)))[:size]
    assert sorted(np.concatenate(late)) == list(range(100))


def make_small() -> TokenBatchSampler:
    return TokenBatchSampler(
        realistic_lengths(40), 400, group=2, seed=3, curriculum_portion=0.5, curriculum_steps=6
    )


@pytest.mark.parametrize("position", range(20))
def test_restoring_at_any_step_continues_the_same_stream(position: int) -> None:
    sampler = make_small()
    for _ in range(position):
        sampler.next_step()
    state = sampler.state_dict()
    expected = [[batch.tolist() for batch in sampler.next_step()] for _ in range(12)]
    restored, sought, back = make_small(), make_small(), make_small()
    restored.load_state_dict(state)
    sought.seek(position)
    back.seek(25)
    back.seek(position)
    for other in (restored, sought, back):
        assert other.step == position
        assert [[batch.tolist() for batch in other.next_step()] for _ in range(12)] == expected


def test_a_position_of_other_data_is_refused() -> None:
    state = make_small().state_dict()
    with pytest.raises(InputError, match="utterances=40, this run 30"):
        TokenBatchSampler(
            realistic_lengths(30), 400, group=2, seed=3, curriculum_portion=0.5, curriculum_steps=6
        ).load_state_dict(state)


def test_bad_options_are_named() -> None:
    with pytest.raises(InputError, match="no utterance"):
        TokenBatchSampler([], 100)
    with pytest.raises(InputError, match="curriculum_portion"):
        TokenBatchSampler([3], 100, curriculum_portion=0.0)


def test_validation_batches_are_fixed_and_complete() -> None:
    lengths = realistic_lengths(100)
    first, second = fixed_batches(lengths, 800), fixed_batches(lengths, 800)
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]
    assert sorted(np.concatenate(first)) == list(range(100))
