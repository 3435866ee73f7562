"""k-means against plain float64 Lloyd and scikit-learn; files; degenerate samples."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from espnet_sld.errors import InputError
from espnet_sld.units import kmeans_fit
from espnet_sld.units.kmeans import FitOptions, KMeans
from espnet_sld.units.kmeans_fit import fit
from espnet_sld.units.sample import FrameSample, select_utterances


@pytest.fixture(scope="module")
def frames():
    """Overlapping clusters, as float16 like the sample."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(30, 8)) * 4
    return (centres[draw.integers(30, size=4000)] + draw.normal(size=(4000, 8))).astype(np.float16)


def distances(x, c):
    return ((x[:, None].astype(np.float64) - c[None].astype(np.float64)) ** 2).sum(-1)


def inertia(x, c):
    return distances(x, c).min(1).mean()


def test_assignment_is_the_nearest_centroid(frames):
    kmeans = KMeans(frames[:50].astype(np.float32))
    nearest = distances(frames, kmeans.centroids)
    ids = kmeans.assign(frames)
    np.testing.assert_allclose(nearest[np.arange(len(frames)), ids], nearest.min(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(kmeans._assign_torch(frames.astype(np.float32), "cpu", 7), ids)


def test_equal_distances_take_the_lowest_cluster():
    assert KMeans(np.array([[1.0], [-1.0], [1.0]])).assign(np.array([[0.0], [2.0]])).tolist() == [0, 0]


def test_lloyd_is_plain_lloyd(frames):
    options = FitOptions(20, seed=3, max_iter=8, tolerance=-1.0)
    start = kmeans_fit._Fit(torch.from_numpy(frames), options)._plus_plus().double().numpy()
    x, centroids, curve = frames.astype(np.float64), start, []
    for _ in range(8):
        squared = distances(x, centroids)
        labels = squared.argmin(1)
        curve.append(squared.min(1).mean())
        centroids = np.stack([x[labels == k].mean(0) for k in range(20)])
    kmeans = fit(frames, options)
    np.testing.assert_allclose(kmeans.centroids, centroids, atol=1e-3)
    np.testing.assert_allclose(kmeans.info["inertia"], curve, rtol=1e-4)


def test_minibatch_centroids_are_means_of_all_frames_they_got(frames):
    options = FitOptions(5, algorithm="minibatch", batch_size=300, max_iter=2, tolerance=-1.0)
    replay = kmeans_fit._Fit(torch.from_numpy(frames), options)
    x, centroids = frames.astype(np.float64), replay._plus_plus().double().numpy()
    sums, counts = np.zeros_like(centroids), np.zeros(5)
    for _ in range(2):
        order = torch.randperm(len(x), generator=replay.generator).numpy()
        for start in range(0, len(x), 300):
            batch = x[order[start : start + 300]]
            labels = distances(batch, centroids).argmin(1)
            for k in range(5):
                sums[k] += batch[labels == k].sum(0)
                counts[k] += (labels == k).sum()
                centroids[k] = sums[k] / counts[k] if counts[k] else centroids[k]
    np.testing.assert_allclose(fit(frames, options).centroids, centroids, atol=1e-3)


def test_initial_centroids_are_different_frames_of_the_sample(frames):
    start = kmeans_fit._Fit(torch.from_numpy(frames), FitOptions(200))._plus_plus().numpy()
    assert len(np.unique(start, axis=0)) == 200
    assert inertia(start, frames[:, :]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"algorithm": "minibatch", "batch_size": 500}, {"backend": "sklearn"}]
)
def test_inertia_is_about_scikit_learns(frames, options):
    from sklearn.cluster import KMeans as Reference

    reference = Reference(30, n_init=3, random_state=0).fit(frames.astype(np.float64))
    kmeans = fit(frames, FitOptions(30, **{"n_init": 2, **options}))
    assert inertia(frames, kmeans.centroids) < 1.1 * reference.inertia_ / len(frames)
    assert kmeans.info["inertia"][-1] == pytest.approx(inertia(frames, kmeans.centroids), rel=0.05)


@pytest.mark.parametrize("algorithm", ["lloyd", "minibatch"])
@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_gives_the_same_centroids_on_any_number_of_threads(frames, algorithm, threads):
    options = FitOptions(25, seed=5, algorithm=algorithm, batch_size=1000)
    first = fit(frames, options)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        again = fit(frames, options)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(first.centroids, again.centroids)
    other = fit(frames, FitOptions(25, seed=6, algorithm=algorithm, batch_size=1000))
    assert not np.array_equal(first.centroids, other.centroids)


def test_lloyd_never_raises_the_inertia_and_stops(frames):
    curve = fit(frames, FitOptions(30, tolerance=1e-3)).info["inertia"]
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(curve))
    assert len(curve) < 100 and curve[-2] - curve[-1] <= 1e-3 * curve[-2]


def test_empty_clusters_move_to_the_farthest_frames():
    data = torch.tensor([[0.0], [0.1], [0.2], [9.0], [20.0]])
    step = kmeans_fit._Fit(data, FitOptions(3))
    centroids, _ = step._lloyd(torch.tensor([[0.0], [100.0], [200.0]]), torch.zeros(3))
    assert sorted(centroids.flatten().tolist()[1:]) == [9.0, 20.0]


def test_many_equal_frames_still_give_k_used_clusters():
    frames = np.concatenate([np.zeros((500, 2)), np.arange(20).reshape(10, 2) + 1]).astype(np.float16)
    kmeans = fit(frames, FitOptions(8))
    assert kmeans.info["dead_clusters"] == 0


def test_too_few_frames_are_input_errors():
    frames = np.arange(20, dtype=np.float16).reshape(10, 2)
    with pytest.raises(InputError, match="11 clusters need at least as many frames, the sample has 10"):
        fit(frames, FitOptions(11))
    with pytest.raises(InputError, match="fewer than 5 different frames"):
        fit(np.repeat(frames[:3], 10, axis=0), FitOptions(5))
    with pytest.raises(InputError, match="between 1 and 20902"):
        fit(frames, FitOptions(0))
    with pytest.raises(InputError, match="not finite"):
        fit(np.full((20, 2), np.inf, dtype=np.float16), FitOptions(2))


def test_files_come_back_and_are_not_pickles(frames, tmp_path):
    kmeans = fit(frames, FitOptions(20))
    kmeans.save(tmp_path)
    loaded = KMeans.load(tmp_path)
    np.testing.assert_array_equal(loaded.centroids, kmeans.centroids)
    assert kmeans.info.items() <= loaded.info.items()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_exported_model_serves_applykmeans_and_predict(frames, tmp_path):
    import joblib

    kmeans = fit(frames, FitOptions(20))
    kmeans.export_mdl(tmp_path / "km_20.mdl")
    model = joblib.load(tmp_path / "km_20.mdl")
    x, centres = frames.astype(np.float32), model.cluster_centers_.transpose()
    applied = ((x**2).sum(1, keepdims=True) - 2 * x @ centres + (centres**2).sum(0, keepdims=True)).argmin(1)
    np.testing.assert_array_equal(applied, kmeans.assign(x))
    np.testing.assert_array_equal(model.predict(x), kmeans.assign(x))


def test_damaged_or_doubtful_files_are_input_errors(frames, tmp_path):
    with pytest.raises(InputError, match="run stage 3"):
        KMeans.load(tmp_path)
    for k in (5, 6):
        fit(frames, FitOptions(k)).save(tmp_path)
    with pytest.raises(InputError, match="name the number of clusters"):
        KMeans.load(tmp_path)
    assert KMeans.load(tmp_path, 5).num_clusters == 5
    (tmp_path / "km_5.safetensors").write_bytes((tmp_path / "km_6.safetensors").read_bytes())
    with pytest.raises(InputError, match="does not belong to"):
        KMeans.load(tmp_path, 5)
    (tmp_path / "km_6.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="damaged"):
        KMeans.load(tmp_path, 6)


def test_wrong_features_are_input_errors(frames):
    kmeans = KMeans(frames[:5].astype(np.float32))
    with pytest.raises(InputError, match="dimension 8"):
        kmeans.assign(np.zeros((3, 7)))
    with pytest.raises(InputError, match="not finite"):
        kmeans.assign(np.full((3, 8), np.nan))


def test_sample_is_bounded_uniform_and_independent_of_order():
    parts = {f"utt{i}": np.full((37, 2), i, dtype=np.float32) for i in range(200)}
    samples = []
    for order in (list(parts), list(reversed(parts))):
        sample = FrameSample(1000, seed=1)
        for utterance in order:
            sample.add(utterance, parts[utterance])
            assert sum(map(len, sample._frames)) <= 2 * 1000 + 37
        samples.append(sample.result())
    assert samples[0].shape == (1000, 2) and samples[0].dtype == np.float16
    np.testing.assert_array_equal(samples[0], samples[1])
    counts = np.bincount(samples[0][:, 0].astype(int), minlength=200)
    # each utterance gives 5 ± 2.1 frames (hypergeometric)
    assert counts.max() < 16 and counts[:100].sum() == pytest.approx(500, abs=80)


def test_sample_without_limit_keeps_every_frame():
    sample = FrameSample(None, seed=1)
    for index in range(5):
        sample.add(f"utt{index}", np.full((3, 1), index, dtype=np.float32))
    assert sorted(sample.result()[:, 0].tolist()) == sorted(list(range(5)) * 3)


def test_portion_of_utterances_is_a_fixed_random_part():
    utterances = [f"utt{i}" for i in range(1000)]
    part = select_utterances(utterances, 0.3, seed=0)
    assert 230 < len(part) < 370 and part == select_utterances(utterances, 0.3, seed=0)
    assert set(select_utterances(utterances[:500], 0.3, 0)) <= set(part)
    assert len(select_utterances(utterances, 1e-9, 0)) == 1
