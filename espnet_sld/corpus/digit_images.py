"""Handwritten digits that scikit-learn carries (1797 images of 8 × 8 pixels), with captions by templates.

The images are the test part of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak;
CC BY 4.0), in its order: one writer's digits stand together, so that the last images are by writers whom
the first do not show. Sets are runs of that order, fixed for good.
"""

import io
import logging
import os
from pathlib import Path

import numpy as np

from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.image_set import ImageSet
from espnet_sld.errors import InputError

TOTAL = 1797
SPLIT = {"train_digits": (0, 1197), "dev_digits": (1197, 1397), "test_digits": (1397, 1797)}
LEVELS = 16  # pixels are 0 … 16
TEMPLATES = (
    "a picture of the digit {word}",
    "the digit {word}",
    "{article} {word} written by hand",
    "this is the number {word}",
    "someone wrote {article} {word}",
)
# One pixel to each side: what the digit is stays, its patches differ.
SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


def captions_of(digit: int) -> list[str]:
    """The five captions of a digit, in the order of the templates."""
    word = DIGITS[digit]
    article = "an" if word[0] in "aeiou" else "a"
    return [template.format(word=word, article=article) for template in TEMPLATES]


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (1797, 8, 8), 0 … 255, and their digits int64 (1797,).

    Raises:
        InputError: scikit-learn carries other images than those that the sets were cut for.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    if bunch.images.shape != (TOTAL, 8, 8):
        raise InputError(f"scikit-learn's digits have shape {bunch.images.shape}, expected ({TOTAL}, 8, 8)")
    pixels = np.round(bunch.images * (255 / LEVELS)).astype(np.uint8)
    return pixels, bunch.target.astype(np.int64)


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The image (H, W) moved by whole pixels; what comes in is background (0)."""
    padded = np.pad(image, 1)
    return padded[1 - down : 1 - down + image.shape[0], 1 - right : 1 - right + image.shape[1]]


def prepare(data_dir: str | os.PathLike, *, shifts: bool = False) -> dict[str, ImageSet]:
    """Write `data_dir/{train,dev,test}_digits` and their PNG files in `data_dir/images/<set>`.

    In the training set every image occurs once for each of its five captions (`digit-0007-c0` … `-c4`); dev
    and test have each image once, its first caption by turns in `text` and all five in `captions.tsv`. All
    sets have `labels`, the digit's word.

    Args:
        shifts: also train on every training image moved by a pixel to each side (`digit-0007-s1-c0` …).
    """
    images, digits = load()
    result = {}
    for name, (first, last) in SPLIT.items():
        folder = Path(data_dir) / "images" / name
        train, current = name == "train_digits", ImageSet({})
        for index in range(first, last):
            captions = captions_of(int(digits[index]))
            for number, (down, right) in enumerate(SHIFTS if train and shifts else SHIFTS[:1]):
                key = f"digit-{index:04d}" + (f"-s{number}" if number else "")
                file = folder / f"{key}.png"
                write_png(file, shifted(images[index], down, right))
                wanted = range(len(captions)) if train else [index % len(captions)]
                for c in wanted:
                    pair = f"{key}-c{c}" if train else key
                    current.images[pair] = str(file)
                    current.text[pair] = captions[c]
                    current.labels[pair] = DIGITS[digits[index]]
                    if not train:
                        current.captions[pair] = captions
        current.write(Path(data_dir) / name)
        logging.info("%s: %d images, %d captions to learn", name, last - first, len(current))
        result[name] = current
    return result


def write_png(path: str | os.PathLike, pixels: np.ndarray) -> None:
    """Write a greyscale (H, W) or colour (H, W, 3) image of uint8 whole; a file that is the same stays.

    No fsync: thousands of small files would wait for the disk one by one; a run repeats what is not the same.
    """
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    path = Path(path)
    if path.is_file() and path.read_bytes() == content.getvalue():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_bytes(content.getvalue())
    partial.replace(path)
