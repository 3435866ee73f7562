"""COCO captions (Chen et al. 2015, arXiv 1504.00325) as image sets: images.scp, text, captions.tsv.

The published layout: `annotations/captions_{train,val}<year>.json` beside the folders `train<year>` and
`val<year>`, year 2014 or 2017. COCO's own test captions are not public: `test` is the val part, and `dev`
is a fixed draw from the training part, which the training set then lacks. With a file of Karpathy's splits
(`dataset_coco.json`) the sets are his train and restval, val, and test instead.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_sld.corpus.image_set import ImageSet
from espnet_sld.errors import InputError

YEARS = ("2014", "2017")
KARPATHY = {"train": ("train", "restval"), "dev": ("val",), "test": ("test",)}
NO_WORD = re.compile(r"[^\w\s'-]|(?<!\w)['-]|['-](?!\w)")


def normalise(caption: str) -> str:
    """Lower case, without punctuation, single spaces, as captions are scored; in-word ' and - stay."""
    return " ".join(NO_WORD.sub(" ", caption.lower()).split())


def read_annotations(path: str | os.PathLike) -> dict[int, tuple[str, list[str]]]:
    """COCO image id → its file name and normalised captions, captions in the order of their ids.

    Raises:
        InputError: the file is missing, not JSON of that layout, or a caption's image is not listed.
    """
    record = _json(path)
    try:
        files = {int(image["id"]): str(image["file_name"]) for image in record["images"]}
        captions: dict[int, list[str]] = {key: [] for key in files}
        for item in sorted(record["annotations"], key=lambda item: int(item["id"])):
            captions[int(item["image_id"])].append(normalise(item["caption"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not COCO's captions ({type(error).__name__}: {error})") from None
    return {key: (files[key], [text for text in captions[key] if text]) for key in sorted(files)}


def prepare(
    coco_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    *,
    year: str = "2017",
    dev_images: int = 5000,
    karpathy: str | os.PathLike | None = None,
) -> dict[str, ImageSet]:
    """Write `data_dir/coco_{train,dev,test}`; images are listed, not copied.

    In the training set an image occurs once for each caption (`coco-000000000009-c0` …); in the others once.
    Images without a caption are left out, counted and named in the log.

    Args:
        dev_images: images drawn from the training part for dev (by a hash of their id, so the same always).
        karpathy: `dataset_coco.json`; then `year` is 2014 and `dev_images` is not used.

    Raises:
        InputError: annotations or image files are missing, or dev would take all training images.
    """
    root = Path(coco_dir)
    if karpathy is not None:
        parts = _karpathy(root, karpathy)
    else:
        if year not in YEARS:
            raise InputError(f"--year {year}: must be one of {' '.join(YEARS)}")
        train, test = (
            {
                key: (root / f"{part}{year}" / file, captions)
                for key, (file, captions) in read_annotations(
                    root / "annotations" / f"captions_{part}{year}.json"
                ).items()
            }
            for part in ("train", "val")
        )
        if not 0 < dev_images < len(train):
            raise InputError(
                f"--dev_images {dev_images}: must leave some of the {len(train)} training images"
            )
        drawn = set(sorted(train, key=_order)[:dev_images])
        parts = {
            "train": {key: value for key, value in train.items() if key not in drawn},
            "dev": {key: train[key] for key in sorted(drawn)},
            "test": test,
        }
    _check_files(root, parts)
    return {
        f"coco_{name}": _write(part, Path(data_dir) / f"coco_{name}", every=name == "train")
        for name, part in parts.items()
    }


def _order(key: int) -> bytes:
    return hashlib.blake2b(str(key).encode(), digest_size=8).digest()


def _karpathy(root: Path, path: str | os.PathLike) -> dict[str, dict[int, tuple[Path, list[str]]]]:
    """Set → COCO id → file and captions, by `dataset_coco.json`."""
    set_of = {split: name for name, splits in KARPATHY.items() for split in splits}
    parts: dict[str, dict[int, tuple[Path, list[str]]]] = {name: {} for name in KARPATHY}
    try:
        for image in _json(path)["images"]:
            captions = [normalise(sentence["raw"]) for sentence in image["sentences"]]
            file = root / image["filepath"] / image["filename"]
            parts[set_of[image["split"]]][int(image["cocoid"])] = file, [text for text in captions if text]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not Karpathy's splits ({type(error).__name__}: {error})") from None
    return parts


def _check_files(root: Path, parts: Mapping[str, Mapping[int, tuple[Path, list[str]]]]) -> None:
    present: dict[Path, set[str]] = {}
    missing = []
    for part in parts.values():
        for file, _ in part.values():
            if file.parent not in present:
                folder = file.parent
                present[folder] = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
            if file.name not in present[file.parent]:
                missing.append(str(file))
    if missing:
        raise InputError(
            f"{root}: {len(missing)} images of the annotations are missing ({', '.join(missing[:3])} …); "
            "unpack COCO's image archives there"
        )


def _write(part: Mapping[int, tuple[Path, list[str]]], path: Path, *, every: bool) -> ImageSet:
    """One set; `every` caption becomes a sample of its own."""
    result, bare = ImageSet({}), []
    for key, (file, captions) in part.items():
        name = f"coco-{key:012d}"
        if not captions:
            bare.append(name)
            continue
        for number, caption in enumerate(captions if every else captions[:1]):
            pair = f"{name}-c{number}" if every else name
            result.images[pair], result.text[pair] = str(file), caption
            if not every:
                result.captions[pair] = captions
    if bare:
        logging.warning(f"{path}: left out {len(bare)} images without a caption: {', '.join(bare)}")
    if not len(result):
        raise InputError(f"{path}: no image with a caption is left for this set")
    result.write(path)
    return result


def _json(path: str | os.PathLike) -> dict[str, Any]:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; get it where COCO is published") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); download it again") from None
