"""Checkpoints of each model, kind and format, made once; and how units are taken from features."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from espnet_sld.units.kmeans import KMeans


@pytest.fixture(scope="session")
def checkpoint(small_ssl, tmp_path_factory) -> Callable[..., Path]:
    """`checkpoint("wavlm", "large", "s3prl")` → path; the same weights whatever the format."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def make(model: str, kind: str = "large", format: str = "s3prl") -> Path:
        key = (model, kind, format)
        if key not in made:
            name = f"{model}_{kind}_{format}" + ("" if format == "transformers" else ".pt")
            made[key] = getattr(small_ssl, f"make_{model}")(folder / name, kind, format)
        return made[key]

    return make


@pytest.fixture(scope="session")
def whisper_dir(small_ssl, tmp_path_factory) -> Path:
    return small_ssl.make_whisper(tmp_path_factory.mktemp("whisper") / "whisper_tiny")


TIE = 2e-6  # of |x|² + |c|²: what float32 leaves undecided


@pytest.fixture(scope="session")
def count_flips() -> Callable[[list[np.ndarray], list[np.ndarray]], int]:
    """How many units two sets of features differ in; 200 of the first set's frames are the centroids.

    A frame that lies midway between two centroids, to within float32's rounding, has no one unit; about one
    in 100 000 does. Such frames may differ, but hardly any may be such.
    """

    def count(one: list[np.ndarray], other: list[np.ndarray]) -> int:
        frames = np.concatenate(one)
        assert [part.shape for part in one] == [part.shape for part in other]
        kmeans = KMeans(frames[np.random.default_rng(0).choice(len(frames), 200, replace=False)])
        centroids, flips, ties = kmeans.centroids.astype(np.float64), 0, 0
        for a, b in zip(one, other, strict=True):
            ids, others = kmeans.assign(a), kmeans.assign(b)
            for t in np.flatnonzero(ids != others):
                near = centroids[[ids[t], others[t]]]
                distances = ((a[t] - near) ** 2).sum(axis=1)
                tie = abs(distances[0] - distances[1]) < TIE * (
                    (a[t] ** 2).sum() + (near**2).sum(axis=1).max()
                )
                ties, flips = ties + int(tie), flips + int(not tie)
        assert ties <= max(1, 1e-4 * len(frames))
        return flips

    return count
