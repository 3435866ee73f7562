"""Rows of units: fitting k-means, and assigning frames."""

import os
import time
from pathlib import Path

import numpy as np
from measure import Pairs, Row, cost_row, limit_share, require, time_pairs

from espnet_sld.units.kmeans import FitOptions, KMeans
from espnet_sld.units.kmeans_fit import fit

DIMENSION = 39  # MFCC with both differences


def structured_frames(number: int, seed: int = 0, sounds: int = 400) -> np.ndarray:
    """Frames (number, 39) float32 that cluster as speech does, roughly.

    A sequence of `sounds` of very different frequency, each with its own spread along a few directions;
    neighbouring frames of a sound are correlated.
    """
    rng = np.random.default_rng(seed)
    scale = np.geomspace(4.0, 0.3, DIMENSION)  # as cepstra: low coefficients and statics vary most
    centres = rng.normal(size=(sounds, DIMENSION)) * scale
    directions = rng.normal(size=(sounds, 4, DIMENSION)) * scale * 0.3
    frequency = rng.dirichlet(np.full(sounds, 0.5))
    held = rng.integers(3, 12, number)  # frames that a sound lasts
    order = np.repeat(rng.choice(sounds, number, p=frequency), held)[:number]
    along = rng.normal(size=(number, 4))
    for lag in range(1, number):
        if order[lag] == order[lag - 1]:
            along[lag] = 0.8 * along[lag - 1] + 0.6 * along[lag]
    noise = rng.normal(size=(number, DIMENSION)) * scale * 0.15
    return (centres[order] + np.einsum("nk,nkd->nd", along, directions[order]) + noise).astype(np.float32)


def real_frames(librispeech: Path, number: int) -> np.ndarray:
    """The first MFCC frames (≤ number, 39) float32 of a folder's FLAC files, in a random, fixed order."""
    from espnet_sld.corpus.data_dir import DataDir
    from espnet_sld.units.frontends import build_frontend
    from espnet_sld.units.source import stream_features

    wav = {path.stem: str(path) for path in sorted(librispeech.rglob("*.flac"))}
    stream = stream_features(DataDir(wav, dict.fromkeys(wav, "s")), build_frontend("mfcc"), shuffle="bench")
    parts, held = [], 0
    for item in stream:
        parts.append(item.frames)
        held += len(item.frames)
        if held >= number:
            break
    return np.concatenate(parts)[:number]


def inertia(frames: np.ndarray, centroids: np.ndarray) -> float:
    """Mean squared distance of a frame to its nearest centroid, in float64."""
    ids = KMeans(centroids).assign(frames)
    return float(np.square(frames.astype(np.float64) - centroids[ids]).sum(axis=1).mean())


def released(clusters: int, seed: int):
    """scikit-learn's mini-batches with the settings of SLD's released code."""
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(
        clusters,
        init="k-means++",
        n_init=20,
        batch_size=10_000,
        max_iter=100,
        max_no_improvement=100,
        tol=0.0,
        reassignment_ratio=0.01,
        compute_labels=False,
        random_state=seed,
    )


def kmeans(repeats: int, *, frames: int = 50_000, clusters: int = 200, slack: float = 1.01) -> Row:
    """A fit from the default options; every timed pair has its own seed and its inertia is compared."""
    data = structured_frames(frames)
    found: dict[str, list[np.ndarray]] = {"ours": [], "peer": []}

    def ours() -> None:
        found["ours"].append(fit(data, FitOptions(clusters, seed=len(found["ours"]))).centroids)

    def peer() -> None:
        found["peer"].append(released(clusters, len(found["peer"])).fit(data).cluster_centers_)

    pairs = time_pairs(ours, peer, repeats)
    own, theirs = (np.median([inertia(data, c) for c in found[name]]) for name in ("ours", "peer"))
    require(own <= slack * theirs, f"inertia {own:.4f} but scikit-learn's {theirs:.4f}")
    return cost_row(
        "kmeans",
        "scikit-learn MiniBatchKMeans, released settings",
        pairs,
        unit="s",
        bar=5.0,
        description=f"scaled down: {frames} structured synthetic frames of MFCC's size, K = {clusters} (the "
        f"full row: 200 k, 2000); inertia {own / theirs:.4f} of scikit-learn's (medians of {repeats} seeds)",
    )


def kmeans_full(repeats: int, *, frames: int = 200_000, clusters: int = 2000, slack: float = 1.01) -> Row:
    """The row at full size, on the recordings below $LIBRISPEECH where it is set; the peer is fitted once."""
    folder = os.environ.get("LIBRISPEECH")
    data = real_frames(Path(folder), frames) if folder else structured_frames(frames)
    start = time.process_time()
    peer = released(clusters, 0).fit(data).cluster_centers_
    peer_seconds, theirs = time.process_time() - start, inertia(data, peer)
    seconds, found = [], []
    for seed in range(repeats):
        start = time.process_time()
        centroids = fit(data, FitOptions(clusters, seed=seed)).centroids
        seconds.append(time.process_time() - start)
        found.append(inertia(data, centroids))
    own = float(np.median(found))
    require(own <= slack * theirs, f"inertia {own:.4f} but scikit-learn's {theirs:.4f}")
    return cost_row(
        "kmeans_full",
        "scikit-learn MiniBatchKMeans, released settings",
        Pairs(seconds, [peer_seconds] * repeats),
        unit="s",
        bar=5.0,
        description=f"{len(data)} MFCC frames, {'real' if folder else 'synthetic'}, K = {clusters}; inertia "
        f"{own / theirs:.4f} of scikit-learn's (median of {repeats} seeds against one)",
    )


def assignment(repeats: int, *, utterances: int = 16, frames: int = 640, clusters: int = 2000) -> Row:
    """Ids of whole utterances, one after the other."""
    data = structured_frames(utterances * frames + clusters)
    centroids, speech = data[-clusters:], data[:-clusters].reshape(utterances, frames, DIMENSION)
    model = KMeans(centroids)
    transposed, norms = centroids.T, np.square(centroids).sum(axis=1)

    def ours() -> list[np.ndarray]:
        return [model.assign(x) for x in speech]

    def peer() -> list[np.ndarray]:  # squared distances in full, as ESPnet's and fairseq's scripts
        return [
            np.argmin(np.square(x).sum(1, keepdims=True) - 2 * (x @ transposed) + norms, axis=1)
            for x in speech
        ]

    different = 0
    for x, own, theirs in zip(speech, ours(), peer(), strict=True):
        first, second = (np.square(x.astype(np.float64) - centroids[ids]).sum(1) for ids in (own, theirs))
        require(np.allclose(first, second, rtol=1e-5, atol=1e-4), "a frame's centroid is not the nearest")
        different += int((own != theirs).sum())
    pairs = time_pairs(ours, peer, repeats)
    number = utterances * frames
    return cost_row(
        "assignment",
        "NumPy distances",
        pairs,
        unit="µs/frame",
        scale=1e6 / number,
        bar=3.0,
        limit_share=limit_share(2 * number * DIMENSION * clusters, float(np.median(pairs.ours))),
        description=f"{utterances} utterances of {frames} frames, D = {DIMENSION}, K = {clusters}; same ids "
        f"({different} ties of {number} frames broken otherwise). Limit: the product of frames and centroids",
    )
