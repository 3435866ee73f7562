"""The arithmetic that every fit shares: nearest centroids, sums by cluster, and clusters without frames."""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch

from espnet_sld.units.nearest import nearest_numpy, nearest_torch, scoring_matrix

THREAD_ROWS = 512  # frames that a thread takes at once
CHUNK = 1 << 24  # frames × clusters of one step; on a CPU its scores are computed in smaller blocks still


def chunk_rows(num_clusters: int) -> int:
    """Frames that one step takes together: what keeps its temporaries small."""
    return max(1, CHUNK // num_clusters)


@contextmanager
def workers(device: torch.device) -> Iterator[Executor | None]:
    """As many threads as torch has, each with a BLAS of one thread; None for one thread or a GPU.

    NumPy's argmin runs on one thread, and products of cache-sized blocks gain nothing from more.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1 or find_spec("threadpoolctl") is None:  # it comes with scikit-learn
        yield None
        return
    from threadpoolctl import ThreadpoolController

    numpys = ThreadpoolController().select(internal_api="openblas")
    with numpys.limit(limits=1), ThreadPoolExecutor(threads) as pool:
        yield pool


class Nearest:
    """Nearest centroids of frames, for centroids (K, D) that stay a while.

    Args:
        pool: threads to share the frames out to, on a CPU; the result is the same.
    """

    def __init__(self, centroids: torch.Tensor, pool: Executor | None = None):
        self.centroids, self.pool = centroids.float(), pool
        self.matrix: np.ndarray | None = None
        if centroids.device.type == "cpu":
            self.matrix = scoring_matrix(self.centroids.numpy())
        else:
            self.half_norms = 0.5 * self.centroids.double().square().sum(dim=1).float()

    def __call__(self, chunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(squared distances (n,), labels (n,)) of a float32 chunk (n, D) on the centroids' device."""
        if self.matrix is not None:
            best, labels = self._on_cpu(chunk.numpy())
        else:
            best, labels = nearest_torch(chunk, self.centroids, self.half_norms)
        return (2 * best + chunk.square().sum(dim=1)).clamp(min=0), labels

    def _on_cpu(self, frames: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        if self.pool is None:
            results = [nearest_numpy(frames, self.matrix)]
        else:
            parts = [frames[start : start + THREAD_ROWS] for start in range(0, len(frames), THREAD_ROWS)]
            results = list(self.pool.map(nearest_numpy, parts, [self.matrix] * len(parts)))
        best, labels = (torch.from_numpy(np.concatenate(column)) for column in zip(*results, strict=True))
        return best, labels


def cluster_sums(
    chunk: torch.Tensor, labels: torch.Tensor, num_clusters: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of each cluster's frames (K, D), counts (K,)), float64, in a fixed order of additions."""
    counts = torch.bincount(labels, minlength=num_clusters).double()
    if chunk.device.type == "cpu":
        zeros = torch.zeros(num_clusters, chunk.shape[1], dtype=torch.float64)
        return zeros.index_add_(0, labels, chunk.double()), counts
    return sums_by_product(chunk, labels, num_clusters), counts


def sums_by_product(chunk: torch.Tensor, labels: torch.Tensor, num_clusters: int) -> torch.Tensor:
    """Sum of each cluster's frames, float64 (K, D). On a GPU index_add_ adds in any order."""
    members = torch.arange(num_clusters, device=labels.device)[:, None] == labels
    return members.double() @ chunk.double()


def sums_and_distances(
    frames: torch.Tensor, nearest: Nearest
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(sums (K, D), counts (K,), squared distances (n,)) of frames (n, D) of any type."""
    shape, device = nearest.centroids.shape, frames.device
    sums = torch.zeros(shape, dtype=torch.float64, device=device)
    counts = torch.zeros(shape[0], dtype=torch.float64, device=device)
    distances = []
    for part in frames.split(chunk_rows(shape[0])):
        chunk = part.float()
        distance, labels = nearest(chunk)
        of_part, number = cluster_sums(chunk, labels, shape[0])
        sums, counts = sums + of_part, counts + number
        distances.append(distance)
    return sums, counts, torch.cat(distances)


def cluster_use(frames: torch.Tensor, nearest: Nearest) -> tuple[torch.Tensor, float]:
    """(frames of each cluster, float64 (K,), mean squared distance) of frames (n, D) of any type."""
    total = 0.0
    counts = torch.zeros(len(nearest.centroids), dtype=torch.float64, device=frames.device)
    for part in frames.split(chunk_rows(len(counts))):
        distance, labels = nearest(part.float())
        counts += torch.bincount(labels, minlength=len(counts))
        total += float(distance.sum(dtype=torch.float64))
    return counts, total / max(1, len(frames))


def means(sums: torch.Tensor, counts: torch.Tensor, otherwise: torch.Tensor) -> torch.Tensor:
    """Mean of each cluster's frames, float32 (K, D); `otherwise` (K, D) where it has none."""
    return torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], otherwise.double()).float()


def move_to_means(
    centroids: torch.Tensor, weights: torch.Tensor, sums: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Mini-batch step: centroids (K, D) float64 stay the means of all frames they got (Sculley 2010).

    `weights` (K,), the frames that each got so far, is counted up in place.
    """
    weights += counts
    rate = torch.where(weights > 0, 1 / weights.clamp(min=1), 0)[:, None]
    return centroids + rate * (sums - counts[:, None] * centroids)


def fill_empty(
    centroids: torch.Tensor, counts: torch.Tensor, farthest: torch.Tensor, distances: torch.Tensor
) -> None:
    """Put the centroids without frames on the frames that lie farthest from theirs, in place.

    Args:
        centroids: (K, D); counts: (K,), frames that each cluster got.
        farthest: (M, D), frames by falling distance; distances: (M,). Frames at distance 0 are not used:
            a second centroid at their place would stay empty.
    """
    empty = torch.nonzero(counts == 0).flatten()
    usable = farthest[distances > 0][: len(empty)]
    if len(usable):
        centroids[empty[: len(usable)]] = usable.to(centroids.dtype)
        logging.info("k-means: %d of %d empty clusters put on the farthest frames", len(usable), len(empty))
