"""k-means over a stream: exact Lloyd steps, means of all frames, blocks that do not show, bounded memory."""

import numpy as np
import pytest

from espnet_sld.bin import fit_kmeans
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.units import train
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.kmeans import FitOptions, KMeans
from espnet_sld.units.kmeans_fit import fit
from espnet_sld.units.kmeans_stream import StreamFit, blocks
from espnet_sld.units.source import stream_features

K = 20


@pytest.fixture(scope="module")
def frames():
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(30, 8)) * 4
    return (centres[draw.integers(30, size=6000)] + draw.normal(size=(6000, 8))).astype(np.float32)


@pytest.fixture(scope="module")
def start(frames):
    """A fit of a small sample."""
    sample = frames[:300].astype(np.float16)
    return fit(sample, FitOptions(K, max_iter=3)), sample


def labels(x, centroids):
    return ((x[:, None] - centroids[None]) ** 2).sum(-1).argmin(1)


def inertia(x, centroids):
    x, centroids = x.astype(np.float64), centroids.astype(np.float64)
    return ((x[:, None] - centroids[None]) ** 2).sum(-1).min(1).mean()


def cut(frames, lengths):
    """As utterances of different lengths."""
    ends = np.cumsum(np.resize(lengths, len(frames)))
    return [part for part in np.split(frames, ends[ends < len(frames)]) if len(part)]


def test_a_lloyd_pass_is_a_step_of_plain_lloyd(frames, start):
    kmeans, sample = start
    stream = StreamFit(kmeans, sample, FitOptions(K, batch_size=700))
    x, centroids = frames.astype(np.float64), kmeans.centroids.astype(np.float64)
    for _ in range(3):
        assert stream.run(cut(frames, [37, 150])) == pytest.approx(inertia(x, centroids), rel=1e-4)
        found = labels(x, centroids)
        centroids = np.stack([x[found == k].mean(0) for k in range(K)])
    np.testing.assert_allclose(stream.result({}).centroids, centroids, atol=1e-3)
    assert stream.frames == 6000 and inertia(x, centroids) < inertia(x, kmeans.centroids)


def test_a_minibatch_pass_keeps_means_of_all_frames_that_each_centroid_got(frames, start):
    kmeans, sample = start
    x, centroids = frames.astype(np.float64), kmeans.centroids.astype(np.float64)
    counts = np.bincount(labels(sample.astype(np.float64), centroids), minlength=K).astype(np.float64)
    sums = counts[:, None] * centroids
    for begin in range(0, 6000, 500):
        part = x[begin : begin + 500]
        found = labels(part, centroids)
        np.add.at(sums, found, part)
        counts += np.bincount(found, minlength=K)
        centroids = sums / np.maximum(counts, 1)[:, None]
    stream = StreamFit(kmeans, sample, FitOptions(K, algorithm="minibatch", batch_size=500))
    stream.run([frames])
    np.testing.assert_allclose(stream.result({}).centroids, centroids, atol=1e-3)
    assert inertia(x, centroids) < inertia(x, kmeans.centroids)


@pytest.mark.parametrize("algorithm", ["lloyd", "minibatch"])
def test_centroids_do_not_depend_on_how_the_stream_is_cut(frames, start, algorithm):
    results = []
    for lengths in ([6000], [1], [17, 900, 3]):
        stream = StreamFit(*start, FitOptions(K, algorithm=algorithm, batch_size=400))
        stream.run(cut(frames, lengths))
        results.append(stream.result({}).centroids)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("algorithm", ["lloyd", "minibatch"])
def test_a_centroid_without_frames_goes_to_the_farthest_frame(algorithm):
    frames = np.array([[0.0], [0.1], [9.0], [0.2], [20.0]], dtype=np.float32)
    stream = StreamFit(
        KMeans(np.array([[0.0], [500.0], [600.0]])),
        frames[:1].astype(np.float16),
        FitOptions(3, algorithm=algorithm, batch_size=2),
    )
    stream.run([frames])
    assert stream.result({}).info["dead_clusters"] == 2
    assert {9.0, 20.0} <= set(stream.result({}).centroids.flatten().tolist())
    stream.run([frames])
    assert stream.result({}).info["dead_clusters"] == 0


def test_blocks_are_of_one_size_whatever_comes():
    arrays = [np.full((n, 2), n, np.float16) for n in (3, 0, 8, 1, 1)]
    cut_up = list(blocks(iter(arrays), 4))
    assert [len(block) for block in cut_up] == [4, 4, 4, 1] and cut_up[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(cut_up), np.concatenate(arrays))


def test_a_stream_without_frames_or_with_bad_ones_is_an_input_error(start):
    with pytest.raises(InputError, match="no frames"):
        StreamFit(*start, FitOptions(K)).run([])
    with pytest.raises(InputError, match="not finite"):
        StreamFit(*start, FitOptions(K)).run([np.full((3, 8), np.nan)])


@pytest.fixture(scope="module")
def data_dir(librispeech_dir, tmp_path_factory):
    files = sorted((librispeech_dir / "test-clean").rglob("*.flac"))[::20][:12]
    wav = {path.stem: str(path) for path in files}
    text = dict.fromkeys(wav, "x")
    return DataDir(wav, dict.fromkeys(wav, "s"), text).write(tmp_path_factory.mktemp("data") / "set")


@pytest.mark.slow
def test_fit_of_all_frames_of_real_speech(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("espnet_sld.units.kmeans_fit.MIN_INIT_FRAMES", 100)
    monkeypatch.setattr("espnet_sld.units.kmeans_fit.INIT_FRAMES_PER_CLUSTER", 5)
    options = f"--data_dir {data_dir} --num_clusters {K} --max_frames all --stream_passes 2".split()
    for name, more in {"a": [], "b": ["--batch_seconds", "3", "--reader_threads", "3"]}.items():
        fit_kmeans.main([*options, "--out_dir", str(tmp_path / name / "km"), *more])
    kmeans = KMeans.load(tmp_path / "a" / "km")
    np.testing.assert_array_equal(kmeans.centroids, KMeans.load(tmp_path / "b" / "km").centroids)
    every = np.concatenate(
        [item.frames for item in stream_features(DataDir.read(data_dir), build_frontend("mfcc"))]
    )
    info = kmeans.info
    assert info["frames"] == info["frames_seen"] == len(every) and info["max_frames"] == "all"
    assert info["sample_frames"] == train.STREAM_SAMPLE * 100 < len(every) / 2
    assert info["sample_seconds"] < info["seconds"] / 2
    first, second = info["stream_inertia"]
    assert inertia(every, kmeans.centroids) < second < first
    again = tmp_path / "a" / "km" / f"km_{K}.safetensors"
    before = again.stat().st_mtime_ns
    fit_kmeans.main([*options, "--out_dir", str(tmp_path / "a" / "km")])
    assert again.stat().st_mtime_ns == before


def test_hours_are_noted_and_only_they_are_read(data_dir, tmp_path):
    options = f"--data_dir {data_dir} --num_clusters {K} --max_frames 1000 --hours 0.01".split()
    fit_kmeans.main([*options, "--out_dir", str(tmp_path / "km")])
    info = KMeans.load(tmp_path / "km").info
    assert info["hours"] == 0.01 and 36 <= info["seconds"] < 36 + 35 and info["utterances"] < 12


def test_streaming_asks_for_what_can_stream(data_dir, tmp_path):
    options = f"--data_dir {data_dir} --num_clusters {K} --max_frames all --out_dir {tmp_path}".split()
    with pytest.raises(InputError, match="only backend torch"):
        fit_kmeans.main([*options, "--kmeans_backend", "sklearn"])
    with pytest.raises(InputError, match="stream_passes 0"):
        fit_kmeans.main([*options, "--stream_passes", "0"])
    with pytest.raises(InputError, match="hours -1"):
        fit_kmeans.main([*options, "--hours", "-1"])
    with pytest.raises(InputError, match="batch_size 0"):
        fit_kmeans.main([*options, "--batch_size", "0"])
