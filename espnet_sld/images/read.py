"""Image files → arrays of one shape, and a picture of several of them."""

import os
from pathlib import Path

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write

WIDE = (("I", "PPM"), ("I", "PNG"))  # mode and format


def read_image(path: str | os.PathLike, shape: tuple[int, int, int] | None = None) -> np.ndarray:
    """Read PNG, JPEG, PGM, … (whatever Pillow reads) or `.npy` → float32 (H, W, C) in 0 … 1, C 1 or 3.

    Args:
        shape: wanted (H, W, C). An image of another size is scaled so that it just covers H × W (Pillow's
            Lanczos filter with antialiasing) and cut around its middle; one of that size stays as it is.
            Colour becomes grey by ITU-R 601 weights, grey becomes three equal channels. Not given: as stored,
            C = 1 for grey images, else 3.

    Raises:
        InputError: the file is missing, or is no image, or one of 32 bits a channel; a `.npy` is not uint8 or
            a float array in 0 … 1 of shape (H, W) or (H, W, 1 or 3).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    try:
        if path.suffix == ".npy":
            picture = Image.fromarray(_from_npy(path))
        else:
            with Image.open(path) as stored:
                # 16 bits of these formats, which Pillow may give as 32
                sixteen = stored.mode.startswith("I;16") or (stored.mode, stored.format) in WIDE
                picture = ImageOps.exif_transpose(stored)
                picture.load()
            if sixteen:  # Pillow clips these instead of scaling them
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            elif picture.mode in ("I", "F"):
                raise ValueError("its pixels have 32 bits and no known range: store 8 or 16")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; correct its line in images.scp") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: cannot be read as an image ({error}); replace it or drop its line"
        ) from None
    grey = picture.mode in ("L", "1") if shape is None else shape[2] == 1
    picture = picture.convert("L" if grey else "RGB")
    if shape is not None and picture.size != (shape[1], shape[0]):
        picture = ImageOps.fit(picture, (shape[1], shape[0]), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(255)
    return pixels[:, :, None] if grey else pixels


def _from_npy(path: Path) -> np.ndarray:
    """Pixels uint8 (H, W) or (H, W, 3)."""
    pixels = np.load(path, allow_pickle=False)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"an array of shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f" or not (
        np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1
    ):
        raise ValueError(f"an array of {pixels.dtype}: must be uint8, or floats in 0 … 1")
    return np.round(pixels * 255).astype(np.uint8)


def read_images(paths: list[str], shape: tuple[int, int, int]) -> np.ndarray:
    """Several images of one shape: float32 (N, H, W, C)."""
    images = np.empty((len(paths), *shape), dtype=np.float32)
    for index, path in enumerate(paths):
        images[index] = read_image(path, shape)
    return images


def write_rows(path: str | os.PathLike, rows: list[np.ndarray], *, scale: int = 1) -> None:
    """Write a PNG: one row of images for each array (N, H, W, C) of `rows`, enlarged `scale` times.

    For reports: originals above their reconstructions.
    """
    import io

    from PIL import Image

    bars = []
    for images in rows:
        padded = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=0.5)
        bars.append(np.concatenate(list(padded), axis=1))
    sheet = np.round(np.clip(np.concatenate(bars, axis=0), 0, 1) * 255).astype(np.uint8)
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    content = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(content, format="PNG")
    with atomic_write(path, "wb") as stream:
        stream.write(content.getvalue())
