"""A set's images → its token file (`id t1 t2 …`), a shard at a time; and token files → images."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.corpus.image_set import read_images_scp
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table
from espnet_sld.images.quantiser import VectorQuantiser
from espnet_sld.images.read import read_images
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp

BATCH = 64


def shard_file(out: str | os.PathLike, shard: int, num_shards: int) -> Path:
    """Where shard i of N goes: `out` itself if it is the only one, else beside it."""
    out = Path(out)
    return out if num_shards == 1 else out.with_name(f"{out.name}.{shard}of{num_shards}")


def _stamp_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.done.json")


def quantise(
    images_scp: str | os.PathLike,
    out: str | os.PathLike,
    quantiser: VectorQuantiser,
    *,
    shard: int = 1,
    num_shards: int = 1,
    batch: int = BATCH,
) -> dict[str, Any]:
    """Write the token file of a set, or its shard; nothing if it is up to date.

    An image that several ids share (one for each caption) is read and encoded once. Image files count as
    changed when their size or time of change does.

    Returns:
        Counts: images, ids, tokens, used (different tokens).

    Raises:
        InputError: an image is missing or cannot be read.
    """
    if not 1 <= shard <= num_shards:
        raise InputError(f"--shard {shard}: must be 1 … {num_shards}")
    if batch < 1:
        raise InputError(f"--batch {batch}: at least 1")
    table = read_images_scp(images_scp)
    files = sorted(set(table.values()))
    files = files[len(files) * (shard - 1) // num_shards : len(files) * shard // num_shards]
    wanted = set(files)
    table = {key: file for key, file in table.items() if file in wanted}
    path = shard_file(out, shard, num_shards)
    states = [(file, (info := os.stat(file)).st_size, info.st_mtime_ns) for file in files]
    stamp = Stamp(
        _stamp_file(path),
        inputs=[Path(images_scp) / "images.scp" if Path(images_scp).is_dir() else images_scp],
        options={"quantiser": quantiser.describe(), "shard": f"{shard}of{num_shards}", "files": states},
        outputs=[path],
    )
    if stamp.fresh():
        logging.info("%s is up to date", path)
        return stamp.result()
    stamp.withdraw()
    tokens: dict[str, str] = {}
    used: set[int] = set()
    starts = range(0, len(files), batch)
    for start in track(starts, len(starts), f"image tokens {shard}/{num_shards}", unit="batches"):
        part = files[start : start + batch]
        for file, row in zip(part, quantiser.encode(read_images(part, quantiser.image_shape)), strict=True):
            tokens[file] = " ".join(map(str, row.tolist()))
            used.update(row.tolist())
    with atomic_write(path) as stream:
        stream.writelines(f"{key} {tokens[file]}\n" for key, file in table.items())
    rows, columns = quantiser.grid
    result = {
        "images": len(files),
        "ids": len(table),
        "tokens": len(files) * rows * columns,
        "used": len(used),
    }
    stamp.write(**result)
    return result


def gather(out: str | os.PathLike, num_shards: int) -> int:
    """Join shards into `out`, sorted by id; returns its number of ids.

    Raises:
        InputError: a shard is missing or unfinished, or an id is in two.
    """
    if num_shards < 1:
        raise InputError(f"--num_shards {num_shards}: at least 1")
    rows: dict[str, str] = {}
    for shard in range(1, num_shards + 1):
        path = shard_file(out, shard, num_shards)
        if not _stamp_file(path).is_file():
            raise InputError(f"{path}: is not done; run shard {shard} of {num_shards} again")
        if path.stat().st_size:
            part = read_table(path)
            if both := sorted(set(rows) & set(part)):
                raise InputError(f"{path}: {both[0]} is in another shard too; run all shards again")
            rows |= part
    with atomic_write(out) as stream:
        stream.writelines(f"{key} {rows[key]}\n" for key in sorted(rows, key=str.encode))
    return len(rows)


def read_tokens(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """A token file: id → int64 tokens. Raises InputError naming a line that is not whole numbers."""
    tokens = {}
    for key, value in read_table(path).items():
        try:
            tokens[key] = np.array(value.split(), dtype=np.int64)
        except ValueError:
            raise InputError(f"{path}: '{key}' has tokens that are no whole numbers: {value[:40]}") from None
    return tokens
