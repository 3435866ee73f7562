"""Speed perturbation in torch: the documented sum, soxr's samples in its band, utterance by utterance."""

import math

import numpy as np
import pytest
import soundfile
import soxr
import torch

from espnet_sld.errors import InputError
from espnet_sld.units import resample
from espnet_sld.units.resample import change_speed, output_length, ratio

FACTORS = (0.9, 1.1, 0.95, 1.25)


@pytest.fixture(scope="module")
def speech(librispeech_dir):
    return soundfile.read(sorted((librispeech_dir / "test-clean").rglob("*.flac"))[1], dtype="float32")[0]


@pytest.mark.parametrize("speed", FACTORS)
def test_samples_are_those_of_soxr_in_the_band_that_both_keep(speech, speed):
    ours, theirs = change_speed(speech, speed), soxr.resample(speech, 16000 * speed, 16000)
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    spectra = [np.fft.rfft(x.astype(np.float64)) for x in (ours, theirs)]
    kept = int(0.9 * min(speed, 1.0) * len(spectra[0]))  # of the lower of the two Nyquist frequencies
    noise = (np.abs(spectra[0][:kept] - spectra[1][:kept]) ** 2).sum()
    assert 10 * np.log10((np.abs(spectra[1][:kept]) ** 2).sum() / noise) > 70
    assert 10 * np.log10((theirs.astype(float) ** 2).sum() / ((ours - theirs).astype(float) ** 2).sum()) > 40


@pytest.mark.parametrize("speed", FACTORS)
def test_samples_are_the_documented_sum(speed):
    signal = np.random.default_rng(0).normal(size=700).astype(np.float32)
    up, down = ratio(speed)
    scale = min(1.0, up / down)
    width = resample.CROSSINGS / scale
    beta = 0.1102 * (resample.ATTENUATION - 8.7)
    cutoff = scale * (1 - (resample.ATTENUATION - 8) / (2.285 * 2 * resample.CROSSINGS * math.pi) / 2)
    expected = np.zeros(output_length(len(signal), up, down))
    for m in range(len(expected)):
        t = np.arange(len(signal)) - m * down / up
        near = np.abs(t) <= width
        window = np.i0(beta * np.sqrt(1 - (t[near] / width) ** 2)) / np.i0(beta)
        expected[m] = (signal[near] * cutoff * np.sinc(cutoff * t[near]) * window).sum()
    np.testing.assert_allclose(change_speed(signal, speed), expected, rtol=1e-5, atol=1e-6)


def test_a_tone_becomes_higher_by_the_factor_and_one_above_the_band_vanishes():
    time = np.arange(16000) / 16000
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    fast = change_speed(tone, 1.25)
    expected = np.sin(2 * np.pi * 1250 * np.arange(len(fast)) / 16000)
    np.testing.assert_allclose(fast[200:-200], expected[200:-200], atol=1e-4)
    above = change_speed(np.sin(2 * np.pi * 7000 * time).astype(np.float32), 1.25)  # 8750 Hz
    assert np.abs(above[200:-200]).max() < 1e-4


@pytest.mark.parametrize("number", [1, 2, 9, 10, 11, 399, 401, 16001])
def test_lengths_are_soxrs(number):
    signal = np.ones(number, np.float32)
    for speed in FACTORS:
        expected = len(soxr.resample(signal, 16000 * speed, 16000))
        assert output_length(number, *ratio(speed)) == expected == len(change_speed(signal, speed))


def test_long_audio_is_the_same_in_blocks(speech, monkeypatch):
    whole = change_speed(speech, 0.9)
    monkeypatch.setattr(resample, "BLOCK", 97)
    np.testing.assert_allclose(change_speed(speech, 0.9), whole, atol=1e-7)


def test_results_are_those_of_a_device_that_rounds_products(speech):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        rounded = change_speed(speech, 1.1)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(rounded, change_speed(speech, 1.1))


def test_factors_are_small_ratios():
    assert [ratio(speed) for speed in (0.9, 1.1, 1.0)] == [(10, 9), (10, 11), (1, 1)]
    for speed in (math.pi, 0.0, -1.0, 1e-9):
        with pytest.raises(InputError, match="--speed_on cpu"):
            ratio(speed)
