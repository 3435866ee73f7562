"""Audio → cluster ids, a shard at a time, streaming; features never reach the disk."""

import logging
from pathlib import Path
from typing import Any

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.partition import split
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp, file_digest
from espnet_sld.units.devices import check_device
from espnet_sld.units.frontends.base import FrontEnd
from espnet_sld.units.kmeans import KMeans, files_of
from espnet_sld.units.source import Reading, audio_digest, audio_tables, stream_features


def shard_files(out_dir: str | Path, num_clusters: int, shard: int, num_shards: int) -> dict[str, Path]:
    """Paths of one shard (1-based): its labels, seconds of each utterance, and stamp."""
    folder, tail = Path(out_dir) / "shards", f"{shard}of{num_shards}"
    return {
        "labels": folder / f"pseudo_labels_km{num_clusters}.{tail}.txt",
        "seconds": folder / f"utt2dur_km{num_clusters}.{tail}.txt",
        "stamp": folder / f"pseudo_labels_km{num_clusters}.{tail}.done.json",
    }


def extract_shard(
    data_dir: str | Path,
    out_dir: str | Path,
    front_end: FrontEnd,
    kmeans_dir: str | Path,
    *,
    num_shards: int = 1,
    shard: int = 1,
    num_clusters: int | None = None,
    reading: Reading = Reading(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """Write `<out_dir>/shards/pseudo_labels_km<K>.<i>of<N>.txt` (`utt 17 17 5 …`); nothing if up to date.

    The file appears whole. Ids do not depend on the number of shards: the assignment goes utterance by
    utterance. As far as the front-end's features do not depend on the batch, they do not either.

    Args:
        reading: how the audio is read; features and clusters are computed on its device.

    Returns:
        Counts: utterances, units, seconds.

    Raises:
        InputError: audio that cannot be read (naming the utterance) or is too short (naming all such), or
            another front-end than k-means was fitted with.
    """
    if not 1 <= shard <= num_shards:
        raise InputError(f"shard {shard} of {num_shards}: shards are counted from 1")
    check_device(reading.device)
    kmeans = KMeans.load(kmeans_dir, num_clusters)
    if kmeans.info.get("frontend") != front_end.describe():
        raise InputError(
            f"{kmeans_dir}: fitted on {kmeans.info.get('frontend')}, asked for {front_end.describe()}; "
            "give the same front-end options or fit again (stage 3)"
        )
    data = DataDir.read(data_dir, text=False, allow_pipes=reading.allow_pipes)
    audio = reading.describe(data)  # of the whole set, the same in all shards
    data = split(data, num_shards)[shard - 1]
    files = shard_files(out_dir, kmeans.num_clusters, shard, num_shards)
    stamp = Stamp(
        files["stamp"],
        inputs=audio_tables(data_dir),
        options={
            "frontend": front_end.describe(),
            "centroids": file_digest(files_of(kmeans_dir, kmeans.num_clusters)[0]),
            "shard": f"{shard}of{num_shards}",
            **audio,
            "audio": audio_digest(data),
        },
        outputs=[files["labels"], files["seconds"]],
    )
    if stamp.fresh():
        logging.info("%s is up to date", files["labels"])
        return stamp.result()
    stream = stream_features(data, front_end, reading, data_dir=data_dir)
    units, seconds = 0, 0.0
    with atomic_write(files["labels"]) as labels, atomic_write(files["seconds"]) as durations:
        for item in track(stream, len(data), f"units {shard}/{num_shards}"):
            try:
                ids = kmeans.assign(item.frames, reading.device)
            except InputError as error:
                raise InputError(f"utterance {item.utterance}: {error}") from None
            labels.write(f"{item.utterance} {' '.join(map(str, ids.tolist()))}\n")
            duration = item.num_samples / front_end.sample_rate
            durations.write(f"{item.utterance} {duration:.5f}\n")
            units, seconds = units + len(ids), seconds + duration
        files["stamp"].unlink(missing_ok=True)  # what failed until here left the earlier shard whole
    result = {"utterances": len(data), "units": units, "seconds": round(seconds, 3)}
    stamp.write(**result)
    return result
