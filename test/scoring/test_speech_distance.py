"""Mel distance: the alignment is the cheapest one, the distortion is its formula."""

import math

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.scoring.speech_distance import align, cepstra, distance, report


def cheapest(cost: np.ndarray, i: int, j: int) -> float:
    """By trying every path."""
    if (i, j) == (0, 0):
        return cost[0, 0]
    before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
    return cost[i, j] + min(cheapest(cost, a, b) for a, b in before if a >= 0 and b >= 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (5, 6), (6, 3)])
def test_the_alignment_is_the_cheapest_of_all_paths(shape):
    cost = np.random.default_rng(sum(shape)).random(shape)
    path = align(cost)
    assert cost[path[:, 0], path[:, 1]].sum() == pytest.approx(cheapest(cost, shape[0] - 1, shape[1] - 1))
    steps = np.diff(path, axis=0)
    assert {tuple(step) for step in steps.tolist()} <= {(0, 1), (1, 0), (1, 1)}
    assert path[0].tolist() == [0, 0] and path[-1].tolist() == [shape[0] - 1, shape[1] - 1]


def test_distortion_of_single_frames_is_the_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1, 20))
    squares = 0.0
    for d in range(1, 14):
        coefficient = sum(
            2 * (a[0, m] - b[0, m]) * math.cos(math.pi * d * (m + 0.5) / 20) / 20 for m in range(20)
        )
        squares += coefficient**2
    found = distance(a, b)
    assert found.mcd_db == pytest.approx(10 / math.log(10) * math.sqrt(2 * squares), rel=1e-12)
    assert found.mel_db == pytest.approx(20 / math.log(10) * np.abs(a - b).mean(), rel=1e-12)


def test_cepstra_rebuild_a_smooth_spectrum():
    grid = (np.arange(40) + 0.5) / 40
    power = 2 + 2 * (0.7 * np.cos(np.pi * grid) - 0.2 * np.cos(3 * np.pi * grid))
    found = cepstra(power[None] / 2)[0]
    assert found[:4] == pytest.approx([0.7, 0, -0.2, 0], abs=1e-12)


def test_distortion_is_in_decibels():
    """Two smooth spectra: the root mean square of 20 log10 of the ratio of their magnitudes."""
    grid, rng = (np.arange(80) + 0.5) / 80, np.random.default_rng(3)
    flat = rng.normal(size=(1, 80))
    change = sum(rng.normal() * np.cos(np.pi * d * grid) for d in range(1, 14))
    found = distance(flat, flat + change)
    assert found.mcd_db == pytest.approx(np.sqrt(np.mean((20 / np.log(10) * change) ** 2)), rel=1e-9)


def test_stretched_speech_is_at_no_distance_and_noise_is_far():
    rng = np.random.default_rng(1)
    speech = rng.normal(size=(30, 40)).cumsum(axis=0)
    slow = speech.repeat(2, axis=0)
    same, other = distance(speech, slow), distance(speech, rng.normal(size=(30, 40)))
    assert same.mcd_db == pytest.approx(0, abs=1e-5) and same.pairs == 60
    assert other.mcd_db > 1
    values = report([("u1", speech, slow), ("u2", speech, speech)])
    assert values["speech_length_ratio"] == 1.5 and values["compared"] == 2 and values["mcd_db"] < 1e-4


def test_a_louder_copy_has_no_cepstral_distortion_but_differs_in_level():
    speech = np.random.default_rng(2).normal(size=(5, 40))
    found = distance(speech, speech + math.log(10) / 20 * 6)
    assert found.mcd_db == pytest.approx(0, abs=1e-5) and found.mel_db == pytest.approx(6)


def test_what_cannot_be_compared_is_named():
    with pytest.raises(InputError, match="utterance u1: spectra of shapes"):
        report([("u1", np.zeros((3, 4)), np.zeros((0, 4)))])
    with pytest.raises(InputError, match="no utterance to compare"):
        report([])
