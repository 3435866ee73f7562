"""What an image quantiser must offer, and reading one from its directory without importing the others."""

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from espnet_sld.errors import InputError

RECORD = "quantiser.json"
# kind in quantiser.json → module:class; a class has `load(directory, device)`.
KINDS = {
    "patch_kmeans": "espnet_sld.images.patches:PatchKMeans",
    "dalle_dvae": "espnet_sld.images.dalle:DalleDvae",
}


class VectorQuantiser(Protocol):
    """Images ↔ a grid of codebook indices, read row by row.

    Attributes:
        kind: one of `KINDS`.
        codebook_size: K; tokens are 0 … K − 1.
        grid: (rows, columns) of tokens of an image.
        image_shape: (height, width, channels) of the images that it takes and gives.
    """

    kind: str
    codebook_size: int
    grid: tuple[int, int]
    image_shape: tuple[int, int, int]

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Images float32 (N, H, W, C) in 0 … 1 → tokens int64 (N, rows·columns).

        An image's tokens do not depend on what else is in the batch.
        """

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens (N, rows·columns) → images float32 (N, H, W, C) in 0 … 1."""

    def describe(self) -> dict[str, Any]:
        """Everything that decides the tokens (JSON values), for stamps."""

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> "VectorQuantiser":
        """Read one from its directory."""


# How a quantiser that can be trained here is: images float32 (N, H, W, C), then its own options.
Fit = Callable[..., VectorQuantiser]


def read_record(directory: str | os.PathLike) -> dict[str, Any]:
    """A quantiser directory's `quantiser.json`. Raises InputError if there is none or it is damaged."""
    path = Path(directory) / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; fit a quantiser first, or write one for a DALL-E dVAE"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(record, dict) or record.get("kind") not in KINDS:
        raise InputError(f"{path}: its kind must be one of {', '.join(KINDS)}")
    return record


def load_quantiser(directory: str | os.PathLike, device: str = "cpu") -> VectorQuantiser:
    """The quantiser that a directory holds, by the `kind` in its quantiser.json.

    Raises:
        InputError: the directory holds none, or files that do not belong together.
    """
    module, _, name = KINDS[read_record(directory)["kind"]].partition(":")
    return getattr(import_module(module), name).load(directory, device)


def check_images(images: np.ndarray, shape: tuple[int, int, int]) -> None:
    """Raise InputError unless `images` is (N, *shape)."""
    if images.ndim != 4 or images.shape[1:] != shape:
        raise InputError(f"images have shape {images.shape[1:]}, the quantiser takes {shape}")


def check_tokens(tokens: np.ndarray, codebook_size: int, grid: tuple[int, int]) -> None:
    """Raise InputError unless `tokens` is (N, rows·columns) with values of the codebook."""
    count = grid[0] * grid[1]
    if tokens.ndim != 2 or tokens.shape[1] != count:
        raise InputError(
            f"{tokens.shape[-1] if tokens.ndim else 0} tokens, an image of this quantiser has {count}"
        )
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < codebook_size):
        bad = tokens[(tokens < 0) | (tokens >= codebook_size)][0]
        raise InputError(f"image token {bad} is outside the codebook of {codebook_size}")
