"""Units and mel frames in time, and units in files."""

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.kmeans import KMeans
from espnet_sld.units.unit_text import ids_to_text
from espnet_sld.vocoder.mel import MelConf
from espnet_sld.vocoder.timing import Timing, read_units, timing_of


@pytest.mark.parametrize("shift", [10, 20, 40])
def test_the_front_ends_record_gives_its_frames(shift):
    front_end = build_frontend("mfcc", frame_shift_ms=shift)
    timing = timing_of(KMeans(np.zeros((2, 39)), {"frontend": front_end.describe()}))
    for samples in (399, 400, 5000, 16000):
        assert timing.num_units(samples) == front_end.num_frames(samples)
    for units in (1, 2, 50):
        shortest = timing.num_samples(units)
        assert timing.num_units(shortest) == units and timing.num_units(shortest - 1) == units - 1


def test_models_of_speech_have_20_ms():
    assert timing_of(KMeans(np.zeros((2, 8)), {"frontend": {"model": "wavlm"}})) == Timing(320, 400)


@pytest.mark.parametrize("conf", [MelConf(), MelConf(sample_rate=24000, hop=300, high_freq=12000)])
def test_a_frame_belongs_to_the_unit_whose_middle_is_nearest(conf):
    timing, units = Timing(640, 400), 9
    frames = conf.num_frames(timing.num_samples(units, conf.sample_rate))
    index, place = timing.unit_of_frames(units, conf, frames)
    for m in range(frames):
        time = m * conf.hop / conf.sample_rate * 16000
        middles = [u * 640 + 200 for u in range(units)]
        nearest = min(range(units), key=lambda u: abs(middles[u] - time))
        assert abs(abs(middles[index[m]] - time) - abs(middles[nearest] - time)) < 1e-9
        assert place[m] == pytest.approx(np.clip((time - middles[index[m]]) / 640 + 0.5, 0, 1), abs=1e-6)
    assert set(index.tolist()) == set(range(units))


def test_both_ways_of_writing_units_are_read_and_none_is_legal(tmp_path):
    path = tmp_path / "units"
    path.write_text(f"a {ids_to_text([3, 3, 11])}\nb 3 3 11\nc\n", encoding="utf-8")
    found = read_units(path, 12)
    assert found["a"].tolist() == found["b"].tolist() == [3, 3, 11] and found["c"].shape == (0,)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 3 12", "'a' has units outside 0 … 11"),
        ("a three", "'a' has no units"),
        (f"a {ids_to_text([12])}", "'a' has no units: .* no unit of 12 clusters"),
    ],
)
def test_wrong_units_are_named(tmp_path, line, message):
    (tmp_path / "units").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_units(tmp_path / "units", 12)
