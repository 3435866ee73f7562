"""On real speech k-means is no worse than scikit-learn's with the settings that SLD's code has."""

import numpy as np
import pytest

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.kmeans import FitOptions, KMeans
from espnet_sld.units.kmeans_fit import fit
from espnet_sld.units.source import stream_features

MORE = 1.01  # times scikit-learn's inertia


def mfcc_frames(folder, number):
    """At most `number` frames (N, 39) of recordings in a random, fixed order."""
    wav = {path.stem: str(path) for path in sorted(folder.rglob("*.flac"))}
    stream = stream_features(
        DataDir(wav, dict.fromkeys(wav, "s")), build_frontend("mfcc"), shuffle="released"
    )
    parts, held = [], 0
    for item in stream:
        parts.append(item.frames)
        held += len(item.frames)
        if held >= number:
            break
    return np.concatenate(parts)[:number]


def inertia(frames, centroids):
    """Mean squared distance to the nearest centroid, float64."""
    ids = KMeans(centroids).assign(frames)
    return np.square(frames.astype(np.float64) - centroids[ids]).sum(axis=1).mean()


@pytest.mark.parametrize(
    ("number", "clusters"),
    [(6000, 50), pytest.param(200_000, 2000, marks=pytest.mark.campaign)],
    ids=["small", "full"],
)
def test_inertia_is_at_most_that_of_the_released_settings(librispeech_dir, number, clusters):
    frames = mfcc_frames(librispeech_dir, number)
    assert len(frames) == number
    options = {"seed": 0, "max_iter": 100}
    theirs = fit(frames, FitOptions(clusters, backend="sklearn", **options))
    ours = fit(frames, FitOptions(clusters, **options))
    assert inertia(frames, ours.centroids) <= MORE * inertia(frames, theirs.centroids)
