"""Mel spectra are the ones that existing vocoders were trained on; Griffin-Lim turns them back into sound."""

import numpy as np
import pytest
import soundfile
from transformers import SpeechT5FeatureExtractor
from transformers.audio_utils import mel_filter_bank

from espnet_sld.errors import InputError
from espnet_sld.vocoder.griffin_lim import gate, griffin_lim, magnitudes
from espnet_sld.vocoder.mel import MelConf, filters, hertz_to_mel, log_mel, mel_to_hertz


@pytest.fixture(scope="module")
def speech(librispeech_dir) -> np.ndarray:
    """1.5 s of a real recording, float32 at 16 kHz."""
    file = sorted(librispeech_dir.rglob("*.flac"))[0]
    return soundfile.read(file, dtype="float32", start=8000, stop=32000)[0]


def test_the_default_is_speecht5s_analysis(speech):
    extractor = SpeechT5FeatureExtractor()
    theirs = extractor(audio_target=speech, sampling_rate=16000)["input_values"][0]
    ours = log_mel(speech, MelConf(floor=1e-10))
    assert ours.shape == theirs.shape == (1 + len(speech) // 256, 80)
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize(
    ("rate", "n_fft", "bands", "low", "high"), [(24000, 2048, 80, 80, 7600), (22050, 1024, 80, 0, 11025)]
)
def test_filters_are_slaneys(rate, n_fft, bands, low, high):
    theirs = mel_filter_bank(n_fft // 2 + 1, bands, low, high, rate, norm="slaney", mel_scale="slaney")
    conf = MelConf(sample_rate=rate, n_fft=n_fft, window=n_fft, bands=bands, low_freq=low, high_freq=high)
    assert np.allclose(filters(conf).numpy().T, theirs, atol=1e-6)


def test_the_mel_scale_has_its_inverse():
    hertz = np.array([0.0, 80, 999, 1000, 1001, 4000, 8000])
    assert np.allclose(mel_to_hertz(hertz_to_mel(hertz)), hertz)


def test_the_logarithms_differ_by_their_base_only(speech):
    ten, natural = log_mel(speech, MelConf()), log_mel(speech, MelConf(log_base="e"))
    assert np.allclose(ten * np.log(10), natural, atol=1e-4)
    assert MelConf().nats == pytest.approx(np.log(10)) and MelConf(log_base="e").nats == 1


def test_magnitudes_are_those_that_have_this_mel(speech):
    conf = MelConf()
    mel = log_mel(speech, conf)
    found = magnitudes(mel, conf)
    assert found.shape == (513, len(mel)) and float(found.min()) >= 0
    again = (filters(conf) @ found).clamp(min=conf.floor).log10().T.numpy()
    loud = mel > mel.max() - 2.5  # the band of a quiet frame may be out of reach of overlapping filters
    assert np.abs(again - mel)[loud].mean() < 0.01


def test_griffin_lim_comes_nearer_with_iterations_and_has_the_length_asked_for(speech):
    conf = MelConf()
    mel = log_mel(speech, conf)

    def error(iterations: int) -> float:
        wave = griffin_lim(mel, len(speech), conf, iterations=iterations)
        assert wave.shape == speech.shape and wave.dtype == np.float32
        return float(np.abs(log_mel(wave, conf) - mel).mean())

    few, many = error(0), error(30)
    assert many < 0.5 * few and many < 0.1


def test_griffin_lim_depends_on_spectrum_and_seed_only(speech):
    conf = MelConf()
    mel = log_mel(speech[:6000], conf)
    one, same, other = (griffin_lim(mel, 6000, conf, iterations=3, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize("length", [1, 255, 256, 400, 513])
def test_very_short_waveforms_have_their_length_too(length):
    conf = MelConf()
    mel = np.full((conf.num_frames(length), 80), -2.0, np.float32)
    assert griffin_lim(mel, length, conf, iterations=2).shape == (length,)


def test_impossible_analyses_are_refused():
    with pytest.raises(InputError, match="impossible range"):
        MelConf(high_freq=9000)
    with pytest.raises(InputError, match="impossible mel analysis"):
        MelConf(hop=2000)
    with pytest.raises(InputError, match="too short for a spectrum: more than 512"):
        log_mel(np.zeros(512, np.float32), MelConf())


def test_what_nobody_hears_becomes_silence_and_speech_stays_as_it_is(speech):
    conf, silence = MelConf(), np.zeros(8000, np.float32)
    joined = np.concatenate([speech, silence, speech])
    wave = griffin_lim(log_mel(joined, conf), len(joined), conf)
    gated = gate(wave, conf.sample_rate)
    pause = slice(len(speech) + 1500, len(speech) + 6500)  # further from speech than a window
    assert 0 < np.abs(wave[pause]).max() < 1e-3 and not gated[pause].any()
    loud = np.abs(wave) > 0.01
    assert loud.sum() > 10_000 and np.array_equal(gated[loud], wave[loud])


def test_the_gate_measures_the_power_around_every_sample():
    wave = np.random.default_rng(0).normal(0, 1e-4, 2000).astype(np.float32)
    padded = np.pad(wave.astype(np.float64), 120)
    power = np.array([np.square(padded[i : i + 241]).mean() for i in range(len(wave))])
    assert 0.2 < (power < 1e-8).mean() < 0.8
    assert np.array_equal(gate(wave, 16000), np.where(power < 1e-8, 0, wave))
