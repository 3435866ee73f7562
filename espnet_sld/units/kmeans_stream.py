"""k-means over more frames than memory holds: passes over a stream, from centroids fitted on a sample."""

import logging
from collections.abc import Iterable, Iterator

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

LOGGED = 100  # blocks between two lines of the log


class StreamFit:
    """Improves centroids by passes over a stream of frames; memory is a few (K, D) and one block.

    `lloyd`: a pass is one step of Lloyd over every frame, its result independent of the stream's order but
    for the last bits of float64 sums. `minibatch`: centroids move after every `batch_size` frames to the mean
    of all frames they got, those of the sample included; give the stream in random order. Centroids without
    frames go to the frames that lie farthest from theirs.

    Args:
        kmeans: centroids to begin with.
        sample: (N, D) float16 or float32, the frames that they were fitted on.
        options: algorithm, batch size, device.
    """

    def __init__(self, kmeans: KMeans, sample: np.ndarray, options: FitOptions):
        self.options, self.device = options, torch.device(options.device)
        self.centroids = torch.from_numpy(kmeans.centroids).to(self.device).double()
        frames = torch.from_numpy(sample).to(self.device)
        with full_float32(), workers(self.device) as pool:
            self.weights, _ = cluster_use(frames, Nearest(self.centroids, pool))
        self.counts = self.weights.clone()
        self.frames = 0

    def run(self, frames: Iterable[np.ndarray]) -> float:
        """One pass over arrays (n, D) of any length.

        Returns:
            Mean squared distance of a frame to its centroid, as the centroids were when it came.

        Raises:
            InputError: no frames, or values that are not finite.
        """
        self.counts = torch.zeros_like(self.weights)
        sums, farthest = torch.zeros_like(self.centroids), _Farthest(self.centroids)
        total, self.frames = 0.0, 0
        for number, block in enumerate(blocks(frames, self.options.batch_size), 1):
            if not np.isfinite(block).all():
                raise InputError("features have values that are not finite; is the audio corrupt?")
            data = torch.from_numpy(block).to(self.device)
            # Not around the loop: the stream's front-end has settings of its own.
            with full_float32(), workers(self.device) as pool:
                part, counts, distances = sums_and_distances(data, Nearest(self.centroids, pool))
            self.counts += counts
            sums += part
            farthest.add(data, distances)
            if self.options.algorithm == "minibatch":
                self.centroids = move_to_means(self.centroids, self.weights, part, counts)
            total, self.frames = total + float(distances.sum(dtype=torch.float64)), self.frames + len(data)
            if number % LOGGED == 0:
                logging.info("k-means: %d frames, inertia per frame %.5g", self.frames, total / self.frames)
        if not self.frames:
            raise InputError("k-means: the stream has no frames")
        if self.options.algorithm == "minibatch":
            new, weights = self.centroids.float(), self.weights
        else:
            new, weights = means(sums, self.counts, self.centroids), self.counts
        fill_empty(new, weights, farthest.frames, farthest.distances)
        self.centroids = new.double()
        return total / self.frames

    def result(self, info: dict) -> KMeans:
        """The centroids now; `info` is kept with them, `dead_clusters` is that of the last pass."""
        dead = int((self.counts == 0).sum())
        return KMeans(self.centroids.float().cpu().numpy(), {**info, "dead_clusters": dead})


def blocks(arrays: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """The same rows in blocks of exactly `rows` (the last may be shorter), float32, however they come."""
    held: list[np.ndarray] = []
    count = 0
    for array in arrays:
        array = np.asarray(array, dtype=np.float32)
        while count + len(array) >= rows:
            taken = rows - count
            yield np.concatenate([*held, array[:taken]])
            held, count, array = [], 0, array[taken:]
        if len(array):
            held.append(array)
            count += len(array)
    if held:
        yield np.concatenate(held)


class _Farthest:
    """The K frames of largest distance so far, by falling distance; the earlier of equals."""

    def __init__(self, centroids: torch.Tensor):
        self.number = len(centroids)
        self.frames = centroids.new_empty((0, centroids.shape[1]), dtype=torch.float32)
        self.distances = centroids.new_empty(0, dtype=torch.float32)

    def add(self, frames: torch.Tensor, distances: torch.Tensor) -> None:
        if len(self.distances) == self.number:
            larger = torch.nonzero(distances > self.distances[-1]).flatten()
            frames, distances = frames[larger], distances[larger]
        if len(distances):
            joined, values = torch.cat([self.frames, frames]), torch.cat([self.distances, distances])
            order = values.sort(descending=True, stable=True).indices[: self.number]
            self.frames, self.distances = joined[order], values[order]
