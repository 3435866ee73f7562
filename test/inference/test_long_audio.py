"""How long a piece of a long recording may be."""

import math
import tracemalloc

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.inference.long_audio import energies, longest_piece, split_at_pauses


def test_what_was_asked_for_counts_and_else_the_usual():
    assert longest_piece(None, 30.0) == 30.0 and longest_piece(None, math.inf) == math.inf
    assert longest_piece(0.1, 30.0) == 0.1 and longest_piece(45.0, 30.0) == 45.0


@pytest.mark.parametrize("asked", [0.0, 0.05, -3.0, math.nan])
def test_too_short_a_piece_is_refused(asked):
    with pytest.raises(InputError, match=f"segments of {asked} s: must be at least 0.1 s"):
        longest_piece(asked, 30.0)


@pytest.mark.parametrize("floor", [0.0, 10 ** (-66 / 20)])
def test_a_few_words_in_a_long_silence_are_kept(floor):
    """Speech in less than 5 % of the frames: no percentile sees it."""
    rate, noise = 8000, np.random.default_rng(0)
    wave = (floor * noise.standard_normal(rate * 60)).astype(np.float32)
    assert split_at_pauses(wave, rate, 20.0) == []
    said = slice(rate * 33, rate * 34)
    wave[said] += (0.1 * noise.standard_normal(rate)).astype(np.float32)
    pieces = split_at_pauses(wave, rate, 20.0)
    assert len(pieces) == 1 and pieces[0][0] <= said.start < said.stop <= pieces[0][1]
    assert pieces[0][1] - pieces[0][0] <= 2 * rate


@pytest.mark.parametrize("samples", [1, 150, 8000 * 61 + 37])
def test_energies_are_those_of_each_frame(samples):
    wave = np.random.default_rng(1).normal(0.01, 0.1, samples).astype(np.float32)
    found = energies(wave, 8000)
    assert len(found) == max(1, (samples - 200) // 80 + 1)
    for frame in {0, len(found) // 2, len(found) - 1, min(5999, len(found) - 1), min(6000, len(found) - 1)}:
        part = wave[frame * 80 : frame * 80 + 200].astype(np.float64) - wave.astype(np.float64).mean()
        assert found[frame] == pytest.approx(max(-90.0, 10 * np.log10(np.mean(part**2) + 1e-300)), abs=1e-6)


def test_cutting_a_long_recording_takes_little_more_than_its_samples():
    """Hours are cut where minutes are: not one copy of all samples in a wider type."""
    wave = np.random.default_rng(0).standard_normal(8000 * 600).astype(np.float32)
    tracemalloc.start()
    try:
        split_at_pauses(wave, 8000, 30.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < wave.nbytes
