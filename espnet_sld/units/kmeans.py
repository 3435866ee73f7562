"""k-means centroids: assignment, and files that are read without unpickling."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, write_json
from espnet_sld.stamps import file_digest
from espnet_sld.units.nearest import nearest_numpy, nearest_torch, scoring_matrix
from espnet_sld.units.unit_text import check_num_clusters


@dataclass(frozen=True)
class FitOptions:
    """How to fit.

    Attributes:
        num_clusters: K.
        seed: of the initial centroids and the mini-batches.
        backend: torch | sklearn (MiniBatchKMeans with the settings of SLD's released code).
        algorithm: lloyd (whole sample each time) | minibatch; sklearn has minibatch only.
        max_iter: most passes over the sample.
        stream_passes: passes over every frame after that, where the frames are streamed.
        tolerance: stop when a pass lowers the inertia by less than this share; sklearn ignores it (tol 0).
        batch_size: frames of a mini-batch.
        n_init: sklearn's number of initialisations.
        device: torch device, "cpu" or "cuda".
    """

    num_clusters: int
    seed: int = 0
    backend: str = "torch"
    algorithm: str = "lloyd"
    max_iter: int = 100
    stream_passes: int = 1
    tolerance: float = 1e-3
    batch_size: int = 10_000
    n_init: int = 20
    device: str = "cpu"


class KMeans:
    """K centroids in D dimensions.

    Args:
        centroids: (K, D), kept as float32.
        info: everything that made them (JSON values): front-end, seed, inertia curve, frames, …
    """

    def __init__(self, centroids: np.ndarray, info: dict[str, Any] | None = None):
        self.centroids = np.ascontiguousarray(centroids, dtype=np.float32)
        self.info = dict(info or {})
        if self.centroids.ndim != 2 or not np.isfinite(self.centroids).all():
            raise InputError(f"centroids must be a finite matrix (K, D), got shape {self.centroids.shape}")
        check_num_clusters(len(self.centroids))
        self._matrix = scoring_matrix(self.centroids)
        self._on_device: dict[str, tuple] = {}

    @property
    def num_clusters(self) -> int:
        return self.centroids.shape[0]

    @property
    def dimension(self) -> int:
        return self.centroids.shape[1]

    def assign(self, frames: np.ndarray, device: str = "cpu") -> np.ndarray:
        """Nearest centroid of each frame: argmin_k (½|c_k|² − x·c_k), in float32, the lowest k among equals.

        See `espnet_sld.units.nearest` for how the scores are computed, and for near ties.

        Args:
            frames: (T, D); assign utterance by utterance and the ids never depend on what else is assigned.
            device: "cpu" (numpy) or a torch device.

        Returns:
            int64 (T,).

        Raises:
            InputError: another dimension, or values that are not finite.
        """
        frames = np.asarray(frames)
        if frames.ndim != 2 or frames.shape[1] != self.dimension:
            raise InputError(f"features have shape {frames.shape}, the centroids dimension {self.dimension}")
        if device == "cpu":
            best, ids = nearest_numpy(frames, self._matrix)
        else:
            best, ids = self._nearest_torch(frames, device)
        if not np.isfinite(best).all():  # what is not finite in a frame shows in every score
            raise InputError("features have values that are not finite; is the audio corrupt?")
        return ids

    def _nearest_torch(self, frames: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray]:
        import torch

        if device not in self._on_device:
            half_norms = torch.from_numpy(self._matrix[-1].copy())
            self._on_device[device] = (torch.from_numpy(self.centroids).to(device), half_norms.to(device))
        points = torch.from_numpy(np.asarray(frames, dtype=np.float32)).to(device)
        best, ids = nearest_torch(points, *self._on_device[device])
        return best.cpu().numpy(), ids.cpu().numpy()

    def save(self, directory: str | Path) -> None:
        """Write `km_<K>.safetensors` (tensor `centroids`) and `km_<K>.json` (`info`)."""
        from safetensors.numpy import save

        weights, record = files_of(directory, self.num_clusters)
        data = save({"centroids": self.centroids})
        with atomic_write(weights, "wb") as stream:
            stream.write(data)
        info = {**self.info, "num_clusters": self.num_clusters, "dimension": self.dimension}
        write_json(record, {**info, "centroids_digest": file_digest(weights)}, sort_keys=True)

    @classmethod
    def load(cls, directory: str | Path, num_clusters: int | None = None) -> "KMeans":
        """Read what `save` wrote; `num_clusters` is needed only where a directory has several models.

        Raises:
            InputError: nothing there, several, or files that do not belong together.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        found = sorted(Path(directory).glob(f"km_{num_clusters or '*'}.safetensors"))
        if len(found) != 1:
            what = (
                "several k-means models; name the number of clusters" if found else "no k-means; run stage 3"
            )
            raise InputError(f"{directory}: {what}")
        record = found[0].with_suffix(".json")
        try:
            centroids = load(found[0].read_bytes())["centroids"]
            info = json.loads(record.read_text(encoding="utf-8"))
        except (SafetensorError, KeyError, ValueError, FileNotFoundError) as error:
            raise InputError(f"{found[0]}: k-means is damaged ({error}); run stage 3 again") from None
        if info.get("centroids_digest") != file_digest(found[0]):
            raise InputError(f"{found[0]}: does not belong to {record}; run stage 3 again")
        return cls(centroids, info)

    def export_mdl(self, path: str | Path) -> None:
        """Write a pickled scikit-learn model for ESPnet's and fairseq's tools (`.cluster_centers_`).

        For other programs only: this project never reads it.
        """
        import joblib
        from sklearn.cluster import MiniBatchKMeans

        model = MiniBatchKMeans(n_clusters=self.num_clusters)
        model.cluster_centers_ = self.centroids
        model.n_features_in_ = self.dimension
        model._n_threads = 1  # what predict() needs of a fitted model
        with atomic_write(path, "wb") as stream:
            joblib.dump(model, stream)


def files_of(directory: str | Path, num_clusters: int) -> tuple[Path, Path]:
    """The centroids' and the record's paths."""
    return (
        Path(directory) / f"km_{num_clusters}.safetensors",
        Path(directory) / f"km_{num_clusters}.json",
    )
