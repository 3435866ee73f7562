"""The embedded quantiser: an image is cut into patches, a token is a patch's nearest k-means centroid."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, write_json
from espnet_sld.images.quantiser import RECORD, check_images, check_tokens, read_record
from espnet_sld.stamps import file_digest
from espnet_sld.units.devices import check_device
from espnet_sld.units.kmeans import FitOptions, KMeans

WEIGHTS = "codebook.safetensors"
MAX_PATCHES = 2_000_000  # that a fit keeps


class PatchKMeans:
    """K centroids of patches of P × P pixels; grid (H/P, W/P).

    Args:
        codebook: (K, P·P·C) float32, pixels in 0 … 1, rows of a patch one after the other, channels last.
        image_shape: (H, W, C).
        info: what made it (JSON values).
    """

    kind = "patch_kmeans"

    def __init__(
        self, codebook: np.ndarray, image_shape: tuple[int, int, int], info: dict[str, Any] | None = None
    ):
        height, width, channels = image_shape
        self.patch = round((codebook.shape[1] / channels) ** 0.5)
        if self.patch**2 * channels != codebook.shape[1] or height % self.patch or width % self.patch:
            raise InputError(
                f"a codebook of dimension {codebook.shape[1]} does not cut images of {image_shape}"
            )
        self.image_shape = (height, width, channels)
        self.grid = (height // self.patch, width // self.patch)
        self.kmeans = KMeans(codebook)
        self.codebook_size = self.kmeans.num_clusters
        self.info = dict(info or {})
        self._digest: str | None = None

    @classmethod
    def fit(
        cls,
        images: np.ndarray,
        *,
        codebook_size: int,
        patch: int,
        seed: int = 0,
        max_patches: int = MAX_PATCHES,
        device: str = "cpu",
    ) -> "PatchKMeans":
        """k-means (k-means++, Lloyd) on the images' patches, at most `max_patches` of them at random.

        Args:
            images: float32 (N, H, W, C) in 0 … 1.

        Raises:
            InputError: the patch does not divide the image, or there are fewer different patches than K.
        """
        from espnet_sld.units.kmeans_fit import fit

        check_device(device)
        shape = images.shape[1:]
        if patch < 1 or shape[0] % patch or shape[1] % patch:
            raise InputError(f"--patch {patch}: must divide the images' {shape[0]} × {shape[1]} pixels")
        vectors = cut(images, patch).reshape(-1, patch * patch * shape[2])
        if len(vectors) > max_patches:
            chosen = np.random.default_rng(seed).choice(len(vectors), max_patches, replace=False)
            vectors = vectors[np.sort(chosen)]
        result = fit(vectors, FitOptions(codebook_size, seed=seed, device=device))
        kept = ("seed", "max_iter", "tolerance", "final_inertia", "dead_clusters")
        info = {name: result.info[name] for name in kept} | {"patches": len(vectors), "images": len(images)}
        return cls(result.centroids, shape, info)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, C) → (N, rows·columns); see `VectorQuantiser`."""
        check_images(images, self.image_shape)
        patches = cut(images, self.patch)
        return np.stack([self.kmeans.assign(image) for image in patches]) if len(images) else _no_tokens(self)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """(N, rows·columns) → (N, H, W, C): the centroids put together."""
        check_tokens(tokens, self.codebook_size, self.grid)
        (rows, columns), patch = self.grid, self.patch
        pixels = self.kmeans.centroids[tokens].reshape(-1, rows, columns, patch, patch, self.image_shape[2])
        return np.clip(pixels.transpose(0, 1, 3, 2, 4, 5).reshape(-1, *self.image_shape), 0.0, 1.0)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "image_shape": list(self.image_shape),
            "weights": self._digest,
            **self.info,
        }

    def save(self, directory: str | os.PathLike) -> None:
        """Write `codebook.safetensors` and, last, `quantiser.json`."""
        from safetensors.numpy import save

        directory = Path(directory)
        with atomic_write(directory / WEIGHTS, "wb") as stream:
            stream.write(save({"codebook": self.kmeans.centroids}))
        self._digest = file_digest(directory / WEIGHTS)
        record = {
            **self.info,
            "kind": self.kind,
            "image_shape": list(self.image_shape),
            "patch": self.patch,
            "grid": list(self.grid),
            "codebook_size": self.codebook_size,
            "weights": self._digest,
        }
        write_json(directory / RECORD, record, sort_keys=True)

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> "PatchKMeans":
        """Read what `save` wrote; always on the CPU.

        Raises:
            InputError: files are missing, damaged, or do not belong together.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        record, weights = read_record(directory), Path(directory) / WEIGHTS
        derived = ("kind", "image_shape", "patch", "grid", "codebook_size", "weights")
        try:
            codebook = load(weights.read_bytes())["codebook"]
            info = {name: value for name, value in record.items() if name not in derived}
            result = cls(codebook, tuple(record["image_shape"]), info)
        except (SafetensorError, KeyError, TypeError, ValueError, IndexError, FileNotFoundError) as error:
            raise InputError(f"{weights}: quantiser is damaged ({error}); fit it again") from None
        result._digest = file_digest(weights)
        if record.get("weights") != result._digest:
            raise InputError(f"{weights}: does not belong to {RECORD} beside it; fit the quantiser again")
        return result


def cut(images: np.ndarray, patch: int) -> np.ndarray:
    """(N, H, W, C) → patches (N, H/P · W/P, P·P·C), row by row."""
    count, height, width, channels = images.shape
    rows, columns = height // patch, width // patch
    parts = images.reshape(count, rows, patch, columns, patch, channels).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(parts.reshape(count, rows * columns, patch * patch * channels))


def _no_tokens(quantiser: PatchKMeans) -> np.ndarray:
    return np.zeros((0, quantiser.grid[0] * quantiser.grid[1]), dtype=np.int64)
