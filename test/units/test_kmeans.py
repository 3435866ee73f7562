"""k-means against plain float64 Lloyd and scikit-learn; files; degenerate samples."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from espnet_sld.errors import InputError
from espnet_sld.units import kmeans_fit
from espnet_sld.units.kmeans import FitOptions, KMeans
from espnet_sld.units.kmeans_fit import fit
from espnet_sld.units.kmeans_steps import cluster_sums, fill_empty, sums_by_product
from espnet_sld.units.nearest import BLOCK, nearest_numpy, nearest_torch, scoring_matrix


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


@pytest.mark.parametrize("clusters", [1, 50, 3000])
def test_assignment_is_the_nearest_centroid(frames, clusters):
    """To float32's rounding: a frame between two centroids may go to either, never to a farther one."""
    draw = np.random.default_rng(1)
    centroids = (frames[draw.integers(len(frames), size=clusters)] + draw.normal(size=(clusters, 8))).astype(
        np.float32
    )
    part = frames[:300]
    ids = KMeans(centroids).assign(part)
    nearest = distances(part, centroids)
    chosen, best = nearest[np.arange(len(part)), ids], nearest.min(1)
    np.testing.assert_allclose(chosen, best, rtol=1e-5, atol=1e-4)
    clear = np.partition(nearest, min(1, clusters - 1), axis=1)[:, min(1, clusters - 1)] > best + 1e-3
    np.testing.assert_array_equal(ids[clear], nearest.argmin(1)[clear])


def test_score_is_the_documented_product_in_float32(frames):
    centroids, part = frames[:50].astype(np.float32), frames[:500].astype(np.float32)
    matrix = scoring_matrix(centroids)
    half_norms = 0.5 * (centroids.astype(np.float64) ** 2).sum(1)
    np.testing.assert_array_equal(matrix[-1], half_norms.astype(np.float32))
    best, ids = nearest_numpy(part, matrix)
    scores = np.concatenate([part, np.ones((500, 1), np.float32)], axis=1) @ matrix
    np.testing.assert_array_equal(ids, scores.argmin(1))
    exact = half_norms - part.astype(np.float64) @ centroids.T.astype(np.float64)
    np.testing.assert_allclose(best, exact.min(1), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 3, 523, 524, 525, 1049])
def test_a_frames_cluster_does_not_depend_on_what_is_assigned_with_it(length):
    draw = np.random.default_rng(2)
    centroids = draw.normal(size=(2000, 40)).astype(np.float32)
    assert BLOCK // len(centroids) == 524  # the lengths lie around a block's end
    frames = draw.normal(size=(1200, 40)).astype(np.float32)
    kmeans = KMeans(centroids)
    np.testing.assert_array_equal(kmeans.assign(frames[:length]), kmeans.assign(frames)[:length])


def test_torch_assigns_as_numpy_does(frames):
    kmeans = KMeans(frames[:50].astype(np.float32))
    np.testing.assert_array_equal(kmeans._nearest_torch(frames, "cpu")[1], kmeans.assign(frames))
    centroids = torch.from_numpy(kmeans.centroids)
    best, ids = nearest_torch(torch.from_numpy(frames).float(), centroids, 0.5 * centroids.square().sum(1))
    expected = nearest_numpy(frames, scoring_matrix(kmeans.centroids))
    np.testing.assert_allclose(best.numpy(), expected[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(ids.numpy(), expected[1])


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
    assert kmeans.info["final_inertia"] == pytest.approx(inertia(x, centroids), rel=1e-4)


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
    assert kmeans.info["final_inertia"] == pytest.approx(inertia(frames, kmeans.centroids), rel=1e-4)


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


def test_sums_of_clusters_are_the_same_added_or_by_a_product(frames):
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 19, len(frames)))
    chunk = torch.from_numpy(frames).float()
    sums, counts = cluster_sums(chunk, labels, 20)
    expected = np.stack([frames[labels.numpy() == k].astype(np.float64).sum(0) for k in range(20)])
    np.testing.assert_allclose(sums.numpy(), expected, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(sums_by_product(chunk, labels, 20).numpy(), expected, rtol=1e-12, atol=1e-9)
    assert counts.tolist() == np.bincount(labels, minlength=20).tolist() and counts[19] == 0


def test_fewer_far_frames_than_empty_clusters_leave_the_rest_where_they_are():
    centroids = torch.tensor([[0.0], [5.0], [6.0], [7.0]])
    fill_empty(centroids, torch.tensor([3, 0, 0, 0]), torch.tensor([[9.0], [0.0]]), torch.tensor([81.0, 0.0]))
    assert centroids.flatten().tolist() == [0.0, 9.0, 6.0, 7.0]


def test_minibatches_are_of_the_size_asked_for_whatever_the_number_of_clusters(frames, monkeypatch):
    options = FitOptions(20, algorithm="minibatch", batch_size=1000, max_iter=2, tolerance=-1.0)
    whole = fit(frames, options).centroids
    monkeypatch.setattr("espnet_sld.units.kmeans_steps.CHUNK", 20 * 64)
    np.testing.assert_allclose(fit(frames, options).centroids, whole, rtol=1e-5, atol=1e-6)


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
    for bad in (np.nan, np.inf, -np.inf):
        features = np.ones((3, 8), dtype=np.float32)
        features[1, 5] = bad
        for centroids in (kmeans.centroids, np.zeros((4, 8)), -np.ones((4, 8))):
            with pytest.raises(InputError, match="not finite"):
                KMeans(centroids).assign(features)
