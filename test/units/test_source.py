"""Streaming a set: batches by padded length, the directory's order, bounded reading ahead, clear errors."""

import itertools
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.corpus.speed import perturb
from espnet_sld.errors import InputError
from espnet_sld.units.batches import OVERHEAD, padded_batches, windows
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.reader import Wave, in_background, map_ahead, read_waves
from espnet_sld.units.short import least_samples
from espnet_sld.units.source import Reading, stream_features


class Padded:
    """A front-end that takes what a model takes: a padded batch. Its feature is a frame's mean."""

    name, sample_rate, dimension, frame_shift = "padded", 16000, 1, 0.02

    def __init__(self, fail_on: int | None = None):
        self.batches: list[list[int]] = []
        self.fail_on = fail_on

    def num_frames(self, num_samples):
        return max(0, (num_samples - 400) // 320 + 1)

    def extract(self, waves):
        lengths = [len(wave) for wave in waves]
        self.batches.append(lengths)
        if self.fail_on in lengths:
            raise OutOfMemoryError("CUDA out of memory")
        batch = np.zeros((len(waves), max(lengths)), np.float32)
        for row, wave in zip(batch, waves, strict=True):
            row[: len(wave)] = wave
        frames = np.lib.stride_tricks.sliding_window_view(batch, 400, axis=1)[:, ::320].mean(axis=2)
        return [row[: self.num_frames(n), None] for row, n in zip(frames, lengths, strict=True)]

    def describe(self):
        return {"name": self.name}


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.fixture(scope="module")
def data(librispeech_dir):
    """36 utterances of 1.5 to 22 s."""
    files = sorted((librispeech_dir / "test-other").rglob("*.flac"))[::3]
    wav = {path.stem: str(path) for path in files}
    return DataDir(wav, dict.fromkeys(wav, "s"))


def test_padded_samples_of_a_batch_are_within_the_budget_and_padding_is_little(data):
    front_end = Padded()
    list(stream_features(data, front_end, Reading(batch_seconds=40)))
    budget = 40 * 16000
    assert all(max(batch) * len(batch) <= budget for batch in front_end.batches)
    assert len(front_end.batches) < len(data) / 1.5
    padded = sum(max(batch) * len(batch) for batch in front_end.batches)
    assert 1 - sum(map(sum, front_end.batches)) / padded < 0.05


def test_utterances_come_in_order_with_their_own_features_whatever_the_batch(data):
    alone = list(stream_features(data, Padded(), Reading(batch_seconds=1e-3)))
    assert [item.utterance for item in alone] == data.utterances
    for reading in (Reading(), Reading(batch_seconds=7, threads=3), Reading(batch_seconds=1000)):
        together = list(stream_features(data, Padded(), reading))
        assert [item[:2] for item in together] == [item[:2] for item in alone]
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.frames, other.frames, atol=1e-7)


def test_an_utterance_longer_than_the_budget_is_a_batch_of_its_own():
    assert padded_batches([3, 50, 4, 4, 3, 60], 10) == [[5], [1], [2, 3], [0, 4]]
    assert padded_batches([], 10) == []


def test_batches_are_the_cheapest_of_all():
    draw = np.random.default_rng(0)
    for _ in range(20):
        lengths, budget = sorted(draw.integers(1, 40, 9).tolist(), reverse=True), 60
        costs = []
        for cuts in itertools.product((False, True), repeat=8):
            ends = [*(i + 1 for i, cut in enumerate(cuts) if cut), 9]
            parts = [lengths[first:last] for first, last in pairwise([0, *ends])]
            if all(part[0] * len(part) <= budget for part in parts):
                costs.append(sum(part[0] * len(part) + OVERHEAD * budget for part in parts))
        batches = padded_batches(lengths, budget)
        assert [index for batch in batches for index in batch] == list(range(9))
        found = sum(lengths[batch[0]] * len(batch) + OVERHEAD * budget for batch in batches)
        assert found == pytest.approx(min(costs))


def test_batches_hold_every_utterance_once():
    lengths = np.random.default_rng(0).integers(1, 100, 500).tolist()
    batches = padded_batches(lengths, 300)
    assert sorted(index for batch in batches for index in batch) == list(range(500))
    assert all(lengths[batch[0]] * len(batch) <= 300 for batch in batches)


def test_a_window_ends_when_it_has_enough_samples():
    waves = [Wave(str(n), np.zeros(n, np.float32), 1.0) for n in (3, 4, 5, 1, 9, 2)]
    assert [[w.length for w in window] for window in windows(waves, 7)] == [[3, 4], [5, 1, 9], [2]]


def test_shuffled_reading_is_another_order_of_the_same_that_only_the_seed_decides(data):
    orders = [
        [wave.utterance for wave in read_waves(data, 16000, threads=threads, shuffle=seed)]
        for seed, threads in (("1", 1), ("1", 3), ("2", 1))
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == data.utterances != orders[0]


def test_segments_of_a_recording_stay_together_and_are_read_once(data, monkeypatch):
    from espnet_sld.corpus import audio

    first, second = data.utterances[:2]
    spans = {
        "b": Span(first, 0, 1),
        "a": Span(second, 0, 1),
        "c": Span(second, 1, 1.5),
        "d": Span(first, 1, 2),
    }
    cut = DataDir({r: data.wav[r] for r in (first, second)}, dict.fromkeys(spans, "s"), segments=spans)
    loads, load = [], audio.load
    monkeypatch.setattr(audio, "load", lambda *args, **kwargs: loads.append(args) or load(*args, **kwargs))
    assert [item.utterance for item in stream_features(cut, Padded())] == ["a", "c", "b", "d"]
    assert len(loads) == 2


def test_speed_on_the_device_gives_the_lengths_and_about_the_samples_of_speed_while_reading(data):
    fast = perturb(data.select(data.utterances[:3]), 1.1)
    whiles = list(stream_features(fast, Padded(), Reading(speed_on="cpu")))
    after = list(stream_features(fast, Padded(), Reading(speed_on="device")))
    for one, other in zip(whiles, after, strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_allclose(one.frames, other.frames, atol=1e-4)
    assert Reading().describe(fast) == {"channels": "mono", "speed": "soxr"}
    assert Reading(speed_on="device").describe(fast)["speed"]["method"] == "kaiser sinc"
    assert Reading(speed_on="device").describe(data) == Reading().describe(data)


def test_reading_ahead_is_bounded_and_keeps_order():
    running, most, lock = set(), [0], threading.Lock()

    def work(number):
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
        time.sleep(0.001 * (number % 3))
        with lock:
            running.discard(number)
        return number

    results = map_ahead(work, iter(range(30)), 3)
    assert next(results) == 0
    assert list(results) == list(range(1, 30)) and most[0] <= 3


def test_the_background_works_only_a_little_ahead_and_stops_when_nobody_listens():
    made = []

    def numbers():
        for number in range(1000):
            made.append(number)
            yield number

    items = in_background(numbers(), ahead=1)
    assert [next(items), next(items)] == [0, 1]
    time.sleep(0.05)
    assert len(made) <= 4
    items.close()
    assert threading.active_count() == 1 or not any(t.name == "reader" for t in threading.enumerate())


def test_what_fails_in_the_background_fails_here_and_names_the_utterance(data, tmp_path):
    (tmp_path / "broken.flac").write_bytes(b"fLaC no more")
    broken = data.utterances[20]
    wav = {**data.wav, broken: str(tmp_path / "broken.flac")}
    bad = DataDir(wav, data.utt2spk)
    with pytest.raises(InputError, match=rf"broken.flac \({broken}\)"):
        list(stream_features(bad, Padded(), Reading(batch_seconds=10)))


def test_errors_of_the_front_end_name_the_batchs_utterances(data):
    lengths = {item.utterance: item.num_samples for item in stream_features(data, Padded())}
    longest = max(lengths, key=lengths.get)
    with pytest.raises(InputError, match=rf"out of memory.*longest {longest}; lower --batch_seconds"):
        list(stream_features(data, Padded(fail_on=lengths[longest]), Reading(batch_seconds=100)))


@pytest.mark.parametrize("tables", [True, False], ids=["with segments", "by reading alone"])
def test_all_utterances_that_are_too_short_are_told_at_once(data, tables):
    spans = {f"utt{i}": Span(utt, 1.0, -1.0) for i, utt in enumerate(data.utterances[:9])}
    short = {"utt2": 0.01, "utt6": 399 / 16000, "utt8": 0.024}
    if tables:
        spans |= {utt: Span(data.utterances[int(utt[3:])], 1.0, 1.0 + s) for utt, s in short.items()}
        cut = DataDir(
            {r: data.wav[r] for r in data.utterances[:9]}, dict.fromkeys(spans, "s"), segments=spans
        )
        front_end = Padded()
        with pytest.raises(InputError) as error:
            list(stream_features(cut, front_end, data_dir="data/x"))
        assert front_end.batches == []  # told before any work
    else:
        speeds = {utt: 500.0 if utt in short else 1.0 for utt in spans}
        short = dict.fromkeys(short)
        cut = DataDir(
            {r: data.wav[r] for r in data.utterances[:9]}, dict.fromkeys(spans, "s"), segments=spans,
            utt2speed=speeds,
        )  # fmt: skip
        with pytest.raises(InputError) as error:
            list(stream_features(cut, Padded(), Reading(batch_seconds=1), data_dir="data/x"))
    message = str(error.value)
    assert "data/x: 3 utterances are too short for one frame of padded (0.025 s):" in message
    assert [line.split()[1] for line in message.splitlines()[1:4]] == [f"{utt}:" for utt in short]
    assert f"utils/fix_data_dir --min_seconds {'0.025 data/x' if tables else '12.5'}" in message


def test_least_samples_is_the_shortest_that_has_a_frame():
    assert least_samples(Padded()) == 400
    assert least_samples(build_frontend("mfcc", frame_length_ms=100)) == 1600


def test_wrong_options_are_input_errors():
    for wrong in ({"speed_on": "gpu"}, {"batch_seconds": -1.0}, {"threads": -1}):
        with pytest.raises(InputError):
            Reading(**wrong)
