"""What k-means sees: utterances by hours, frames by random keys; reproducible, bounded, uniform."""

import numpy as np
import pytest

from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.units.sample import FrameSample, draw_hours, shuffled, utterance_random


def numbered(count, seconds):
    utterances = [f"utt{i:04d}" for i in range(count)]
    return DataDir(
        wav={utt: f"{utt}.wav" for utt in utterances},
        utt2spk=dict.fromkeys(utterances, "s"),
        utt2dur=dict.fromkeys(utterances, seconds),
    )


def test_sample_is_bounded_uniform_and_independent_of_order():
    parts = {f"utt{i}": np.full((37, 70), i, dtype=np.float32) for i in range(200)}
    samples = []
    for order in (list(parts), list(reversed(parts))):
        sample = FrameSample(1000, seed=1)
        for utterance in order:
            sample.add(utterance, parts[utterance])
        assert len(sample._frames) == 1126 and sample.seen == 200 * 37
        samples.append(sample.result())
    assert samples[0].shape == (1000, 70) and samples[0].dtype == np.float16
    np.testing.assert_array_equal(samples[0], samples[1])
    counts = np.bincount(samples[0][:, 0].astype(int), minlength=200)
    # each utterance gives 5 ± 2.1 frames (hypergeometric)
    assert counts.max() < 16 and counts[:100].sum() == pytest.approx(500, abs=80)


@pytest.mark.parametrize("limit", [1, 999, 1000, 5000])
def test_sample_is_the_frames_of_the_smallest_keys_in_their_order(limit):
    draw, sample = np.random.default_rng(0), FrameSample(limit, seed=3)
    keys, frames = [], []
    for index, length in enumerate([5, 700, 1, 2500, 40, 900]):  # an utterance larger than the buffer too
        frames.append(draw.normal(size=(length, 3)).astype(np.float32))
        keys.append(utterance_random(3, f"u{index}", "frames").random(length))
        sample.add(f"u{index}", frames[-1])
    order = np.argsort(np.concatenate(keys))[:limit]
    np.testing.assert_array_equal(sample.result(), np.concatenate(frames)[order].astype(np.float16))


def test_sample_of_nothing_is_empty():
    assert FrameSample(10, seed=0).result().shape == (0, 0)


def test_hours_are_drawn_at_random_and_more_hours_only_add():
    data = numbered(1000, 36.0)
    one, two = (draw_hours(data, hours, seed=0).utterances for hours in (1, 2))
    assert (len(one), len(two)) == (100, 200) and set(one) < set(two)
    positions = [int(utt[3:]) for utt in one]
    assert 380 < np.mean(positions) < 620  # 500 ± 29
    assert draw_hours(data, 1, seed=1).utterances != one
    assert set(one) & set(data.utterances[:500]) <= set(
        draw_hours(data.select(data.utterances[:500]), 1, seed=0).utterances
    )


def test_no_hours_and_more_than_there_are_take_everything(caplog):
    data = numbered(10, 36.0)
    assert draw_hours(data, 0, seed=0) is data
    with caplog.at_level("INFO"):
        assert draw_hours(data, 1, seed=0) is data
    assert "1.00 hours wanted, the set has 0.10" in caplog.text


def test_only_the_headers_of_drawn_utterances_are_read(fsdd_dir):
    recording = str(next(iter(sorted((fsdd_dir / "recordings").glob("*.wav")))))
    data = numbered(50, 1.0)
    data.utt2dur = None
    first = shuffled(data.utterances, 0, "hours")[0]
    data.wav[first] = recording  # the others do not exist
    assert draw_hours(data, 1e-6, seed=0).utterances == [first]
    data.segments = {utt: Span(utt, 1.0, 37.0) for utt in data.utterances}
    assert len(draw_hours(data, 0.1, seed=0)) == 10
