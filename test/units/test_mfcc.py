"""MFCC on real speech against a plain restatement of Kaldi's definition."""

import subprocess
import sys

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.frontends.mfcc import add_deltas


@pytest.fixture(scope="module")
def speech(librispeech_dir):
    from espnet_sld.corpus.audio import read_audio

    paths = sorted(librispeech_dir.glob("test-*/*/*/*.flac"))[:3]
    return [read_audio(path)[:32000] for path in paths]


def plain_mfcc(wave: np.ndarray, shift: int, high: float = 8000.0) -> np.ndarray:
    """Kaldi's MFCC in float64: DC removal, pre-emphasis, Povey window, mel filters, DCT, lifter 22."""
    num_ceps, num_bins = 13, 23
    samples = wave.astype(np.float64) * 32768
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85

    def mel(hertz):
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(20.0), mel(high), num_bins + 2)
    bins = mel(np.arange(256) * 16000 / 512)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rise, fall))
    order, band = np.arange(num_ceps)[:, None], np.arange(num_bins)
    dct = np.sqrt(np.where(order == 0, 1, 2) / num_bins) * np.cos(np.pi / num_bins * (band + 0.5) * order)
    lifter = 1 + 11 * np.sin(np.pi * np.arange(num_ceps) / 22)
    rows = []
    for start in range(0, len(samples) - 399, shift):
        frame = samples[start : start + 400]
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate((frame[:1], frame[:-1]))
        power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
        energies = np.log(np.maximum(filters @ power[:256], np.finfo(np.float32).eps))
        rows.append(lifter * (dct @ energies))
    return np.array(rows)


def plain_deltas(features: np.ndarray, order: int, window: int) -> np.ndarray:
    """Kaldi's DeltaFeatures, loop by loop."""
    scales = [np.ones(1)]
    for _ in range(order):
        previous, reach = scales[-1], len(scales[-1]) // 2
        current = np.zeros(len(previous) + 2 * window)
        for j in range(-window, window + 1):
            for k in range(-reach, reach + 1):
                current[j + k + reach + window] += j * previous[k + reach]
        scales.append(current / sum(j * j for j in range(-window, window + 1)))
    frames, dimension = features.shape
    out = np.zeros((frames, dimension * (order + 1)))
    for t in range(frames):
        for i, scale in enumerate(scales):
            reach = len(scale) // 2
            for j in range(-reach, reach + 1):
                source = min(max(t + j, 0), frames - 1)
                out[t, i * dimension : (i + 1) * dimension] += scale[j + reach] * features[source]
    return out


@pytest.mark.parametrize(("shift_ms", "high"), [(10, 8000), (20, 8000), (40, 8000), (20, 4000)])
def test_cepstra_are_kaldis(speech, shift_ms, high):
    conf = {"frame_shift_ms": shift_ms, "high_freq": high, "delta_order": 0, "normalisation": "none"}
    front_end = build_frontend("mfcc", **conf)
    for wave, features in zip(speech, front_end.extract(speech), strict=True):
        np.testing.assert_allclose(features, plain_mfcc(wave, 16 * shift_ms, high), atol=0.02, rtol=1e-3)


def test_features_are_cepstra_with_deltas_less_the_mean(speech):
    front_end = build_frontend("mfcc")
    for wave, features in zip(speech, front_end.extract(speech), strict=True):
        expected = plain_deltas(plain_mfcc(wave, 320), 2, 2)
        np.testing.assert_allclose(features, expected - expected.mean(axis=0), atol=0.02, rtol=1e-3)
        assert features.dtype == np.float32 and features.shape[1] == front_end.dimension == 39


@pytest.mark.parametrize("frames", [1, 2, 3, 30])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_deltas_are_kaldis_also_at_the_ends(frames, window):
    features = np.random.default_rng(frames).normal(size=(frames, 4)).astype(np.float32)
    np.testing.assert_allclose(add_deltas(features, 2, window), plain_deltas(features, 2, window), atol=1e-5)


def test_delta_of_a_ramp_is_its_slope():
    ramp = np.arange(20, dtype=np.float32)[:, None] * 3
    inner = add_deltas(ramp, 2, 2)[4:-4]
    np.testing.assert_allclose(inner[:, 1:], np.tile([3.0, 0.0], (12, 1)), atol=1e-5)


def test_normalisation_gives_zero_mean_and_unit_variance(speech):
    mean = build_frontend("mfcc", normalisation="mean").extract(speech)[0]
    both = build_frontend("mfcc", normalisation="mean_variance").extract(speech)[0]
    np.testing.assert_allclose(mean.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(both.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(both.std(axis=0), 1, atol=1e-3)


def test_coarse_frames_with_fine_deltas_are_every_nth_fine_frame(speech):
    fine = build_frontend("mfcc", frame_shift_ms=10).extract(speech)
    coarse = build_frontend("mfcc", frame_shift_ms=40, delta_shift_ms=10).extract(speech)
    for a, b in zip(fine, coarse, strict=True):
        np.testing.assert_array_equal(a[::4], b)


COARSE, BETWEEN_SAMPLES = {"frame_shift_ms": 40, "delta_shift_ms": 10}, {"frame_shift_ms": 10.72}


@pytest.mark.parametrize("conf", [{}, {"frame_shift_ms": 10}, COARSE, BETWEEN_SAMPLES])
@pytest.mark.parametrize("samples", [400, 401, 719, 720, 1039, 1040, 16000])
def test_number_of_frames_is_the_formulas(conf, samples):
    front_end = build_frontend("mfcc", **conf)
    wave = np.random.default_rng(0).normal(size=samples).astype(np.float32) * 0.1
    assert len(front_end.extract([wave])[0]) == front_end.num_frames(samples) > 0


def test_an_utterance_does_not_depend_on_its_company(speech):
    front_end = build_frontend("mfcc")
    for wave, together in zip(speech, front_end.extract(speech), strict=True):
        np.testing.assert_array_equal(front_end.extract([wave])[0], together)


def test_digital_silence_is_finite():
    assert np.isfinite(
        build_frontend("mfcc", normalisation="mean_variance").extract([np.zeros(4000)])[0]
    ).all()


def test_too_short_an_utterance_is_refused():
    front_end = build_frontend("mfcc")
    assert front_end.num_frames(399) == front_end.num_frames(0) == 0
    with pytest.raises(InputError, match="399 samples are too short"):
        front_end.extract([np.zeros(400), np.zeros(399)])


@pytest.mark.parametrize(
    ("name", "conf", "message"),
    [
        ("mfccc", {}, "known: mfcc"),
        ("mfcc", {"frame_shift": 10}, "has no option frame_shift"),
        ("mfcc", {"frame_shift_ms": 0}, "must be positive"),
        ("mfcc", {"frame_shift_ms": 25, "delta_shift_ms": 10}, "multiple of delta_shift_ms"),
        ("mfcc", {"num_ceps": 30}, "impossible num_ceps"),
        ("mfcc", {"high_freq": 9000}, "must rise within"),
        ("mfcc", {"normalisation": "median"}, "must be one of"),
        ("mfcc", {"frame_shift_ms": "ten"}, "frame_shift_ms=ten must be a number"),
        ("mfcc", {"frame_shift_ms": float("nan")}, "must be a number"),
        ("mfcc", {"num_ceps": 13.5}, "must be a whole number"),
        ("mfcc", {"num_ceps": True}, "must be a whole number"),
    ],
)
def test_wrong_options_are_input_errors(name, conf, message):
    with pytest.raises(InputError, match=message):
        build_frontend(name, **conf)


def test_units_by_mfcc_load_no_torch(repo_root):
    code = (
        "import sys, numpy; from espnet_sld.units import extract, gather, kmeans, train;"
        "from espnet_sld.units.frontends import build_frontend;"
        "f = build_frontend('mfcc').extract([numpy.zeros(4000, 'f4')])[0];"
        "kmeans.KMeans(numpy.ones((2, 39))).assign(f);"
        "sys.exit(sum(m in sys.modules for m in ('torch', 'sklearn', 'transformers', 'espnet2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repo_root, check=False).returncode == 0
