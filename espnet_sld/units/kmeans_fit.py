"""k-means of a sample: k-means++ and Lloyd or mini-batches in torch, or scikit-learn's mini-batches."""

import logging
import math
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.units.kmeans import FitOptions, KMeans
from espnet_sld.units.kmeans_steps import (
    Nearest,
    cluster_use,
    fill_empty,
    means,
    move_to_means,
    sums_and_distances,
    workers,
)
from espnet_sld.units.nearest import full_float32
from espnet_sld.units.unit_text import check_num_clusters

INIT_FRAMES_PER_CLUSTER = 50
MIN_INIT_FRAMES = 20_000
FINITE_ROWS = 1 << 16  # checked at once


def fit(frames: np.ndarray, options: FitOptions) -> KMeans:
    """k-means of a sample.

    The result depends on the sample, its order and `options` only; on a CPU not on the number of threads
    either, as far as the BLAS library keeps to it (sums over frames are float64, in order).

    Args:
        frames: (N, D) float16 or float32; kept as it is, chunks of it become float32.

    Returns:
        KMeans whose `info` has the options, `inertia` (mean squared distance per frame to the centroids that
        each pass began with), `final_inertia` (to those returned), `frames`, `dead_clusters`.

    Raises:
        InputError: fewer (different) frames than clusters, or values that are not finite.
    """
    check_num_clusters(options.num_clusters)
    if options.backend not in ("torch", "sklearn") or options.algorithm not in ("lloyd", "minibatch"):
        raise InputError(f"k-means backend '{options.backend}', algorithm '{options.algorithm}': unknown")
    if frames.ndim != 2 or len(frames) < options.num_clusters:
        raise InputError(
            f"{options.num_clusters} clusters need at least as many frames, the sample has {len(frames)}; "
            "lower num_clusters or use more audio"
        )
    if not all(np.isfinite(frames[i : i + FINITE_ROWS]).all() for i in range(0, len(frames), FINITE_ROWS)):
        raise InputError("features have values that are not finite (or too large for the sample's float16)")
    data = torch.from_numpy(np.ascontiguousarray(frames)).to(options.device)
    if options.backend == "sklearn":
        centroids, curve = _fit_sklearn(frames, options)
    with full_float32(), workers(data.device) as pool:
        if options.backend == "torch":
            centroids, curve = _Fit(data, options, pool).run()
        counts, inertia = cluster_use(data, Nearest(torch.from_numpy(centroids).to(data.device), pool))
    info = {
        **asdict(options),
        "frames": len(frames),
        "inertia": [round(value, 6) for value in curve or [inertia]],
        "final_inertia": round(inertia, 6),
        "dead_clusters": int((counts == 0).sum()),
    }
    return KMeans(centroids, info)


class _Fit:
    """One fit in torch. `data` (N, D) stays as it is stored; chunks become float32."""

    def __init__(self, data: torch.Tensor, options: FitOptions, pool: Executor | None = None):
        self.data, self.options, self.pool = data, options, pool
        self.k = options.num_clusters
        self.generator = torch.Generator().manual_seed(options.seed)

    def run(self) -> tuple[np.ndarray, list[float]]:
        centroids = self._plus_plus()
        update = self._lloyd if self.options.algorithm == "lloyd" else self._minibatches
        curve: list[float] = []
        weights = torch.zeros(self.k, dtype=torch.float64, device=self.data.device)
        for iteration in range(1, self.options.max_iter + 1):
            centroids, inertia = update(centroids, weights)
            curve.append(inertia)
            logging.info("k-means pass %d: inertia per frame %.5g", iteration, inertia)
            if len(curve) > 1 and curve[-2] - curve[-1] <= self.options.tolerance * curve[-2]:
                break
        return centroids.cpu().numpy(), curve

    def _draw(self, weights: torch.Tensor, number: int) -> torch.Tensor:
        """Indices with probability ∝ weights (float64, on the CPU), by the inverse distribution function."""
        cumulative = weights.cumsum(0)
        if not cumulative[-1] > 0:
            raise InputError(
                f"the sample has fewer than {self.k} different frames; lower num_clusters or use more audio"
            )
        points = torch.rand(number, generator=self.generator, dtype=torch.float64) * cumulative[-1]
        return torch.searchsorted(cumulative, points, right=True).clamp(max=len(weights) - 1)

    def _plus_plus(self) -> torch.Tensor:
        """Greedy k-means++ (Arthur & Vassilvitskii 2007; 2 + ⌊ln K⌋ candidates) on a part of the sample."""
        number = min(len(self.data), init_frames(self.k))
        chosen = torch.randperm(len(self.data), generator=self.generator)[:number]
        points = self.data[chosen.to(self.data.device)].float()
        norms = points.square().sum(dim=1)
        centroids = points.new_empty(self.k, points.shape[1])
        trials = 2 + int(math.log(self.k))
        closest = torch.full_like(norms, float("inf"))
        for index in range(self.k):
            if index == 0:
                candidates = torch.randint(number, (1,), generator=self.generator)
            else:
                candidates = self._draw(closest.double().cpu(), trials)
            tried = points[candidates.to(points.device)]
            distances = (
                norms - 2 * (tried @ points.T) + tried.square().sum(dim=1, keepdim=True)
            )  # (trials, N)
            distances = torch.minimum(distances.clamp_(min=0), closest)
            # Rounding must not let a chosen frame be drawn again.
            distances[torch.arange(len(candidates)), candidates] = 0
            best = int(distances.sum(dim=1, dtype=torch.float64).argmin())
            centroids[index], closest = tried[best], distances[best]
        return centroids

    def _lloyd(self, centroids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
        """One pass over everything; returns new centroids and the inertia per frame of the old ones."""
        sums, counts, distances = sums_and_distances(self.data, Nearest(centroids, self.pool))
        new = means(sums, counts, centroids)
        self._reseed(new, counts, distances)
        return new, float(distances.sum(dtype=torch.float64)) / len(self.data)

    def _reseed(self, centroids: torch.Tensor, counts: torch.Tensor, distances: torch.Tensor) -> None:
        """Put the centroids without frames on the frames that are farthest from theirs."""
        if (counts == 0).any():
            order = distances.sort(descending=True, stable=True).indices[: self.k]
            fill_empty(centroids, counts, self.data[order].float(), distances[order])

    def _minibatches(self, centroids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
        """One pass in random mini-batches."""
        order = torch.randperm(len(self.data), generator=self.generator)
        distances = torch.empty(len(self.data), device=self.data.device)
        new = centroids.double()
        for indices in order.split(self.options.batch_size):
            indices = indices.to(self.data.device)
            sums, counts, distance = sums_and_distances(self.data[indices], Nearest(new, self.pool))
            new = move_to_means(new, weights, sums, counts)
            distances[indices] = distance
        result = new.float()
        self._reseed(result, weights, distances)
        return result, float(distances.sum(dtype=torch.float64)) / len(self.data)


def init_frames(num_clusters: int) -> int:
    """Frames that k-means++ draws from."""
    return max(MIN_INIT_FRAMES, INIT_FRAMES_PER_CLUSTER * num_clusters)


def _fit_sklearn(frames: np.ndarray, options: FitOptions) -> tuple[np.ndarray, list[float]]:
    """MiniBatchKMeans as SLD's released code calls it (SYSTEMS: batch 10 000, n_init 20, tol 0, …)."""
    from sklearn.cluster import MiniBatchKMeans

    settings: dict[str, Any] = {
        "init": "k-means++",
        "max_iter": options.max_iter,
        "batch_size": options.batch_size,
        "tol": 0.0,
        "max_no_improvement": 100,
        "n_init": options.n_init,
        "reassignment_ratio": 0.01,
    }
    model = MiniBatchKMeans(
        n_clusters=options.num_clusters, random_state=options.seed, compute_labels=False, **settings
    )
    model.fit(np.asarray(frames, dtype=np.float32))
    return model.cluster_centers_.astype(np.float32), []
