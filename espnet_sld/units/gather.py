"""Shards of cluster ids → one set's label file, unit text and companions, as ESPnet's asr2 names them."""

import json
import mmap
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.partition import split
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table
from espnet_sld.stamps import Stamp, file_digest
from espnet_sld.units.extract import shard_files
from espnet_sld.units.source import audio_digest, audio_tables
from espnet_sld.units.unit_text import deduplicate, ids_to_text

SHOWN = 5


class Labels:
    """Label files of all shards, read by utterance without holding them in memory.

    An utterance id is everything before the first space, whatever the labels are: an id such as `17` whose
    first label is 17 keeps it (asr2's awk loses it).
    """

    def __init__(self, paths: list[Path], stack: ExitStack):
        self._maps: list[mmap.mmap | None] = []
        self.index: dict[str, tuple[int, int, int]] = {}
        for number, path in enumerate(paths):
            stream = stack.enter_context(path.open("rb"))
            empty = path.stat().st_size == 0
            self._maps.append(
                None if empty else stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            )
            position = 0
            for line in stream:
                utterance, _, labels = line.partition(b" ")
                key, start = utterance.decode(), position + len(utterance) + 1
                if key in self.index or not labels.strip():
                    what = "occurs twice" if key in self.index else "has no labels"
                    raise InputError(
                        f"{path}: utterance {key} {what}; delete {path.parent}, run stage 4 again"
                    )
                position += len(line)
                self.index[key] = (number, start, position)

    def read(self, utterance: str) -> np.ndarray:
        """Cluster ids int64 (frames,) of an utterance."""
        number, start, end = self.index[utterance]
        return np.array(self._maps[number][start:end].split(), dtype=np.int64)


def gather(
    data_dir: str | Path,
    out_dir: str | Path,
    dump_dir: str | Path,
    *,
    num_shards: int,
    suffix: str,
    lang: str,
    num_clusters: int = 0,
    text: bool = True,
    lm_train: str | Path | None = None,
) -> dict[str, Any]:
    """Join shards: exactly the utterances of the data directory, in its order.

    Writes `<out_dir>/{pseudo_labels_km<K>.txt,report.json}` and in `dump_dir` `text.ts.<suffix>`,
    `text.rm.<suffix>`, `text.ts.<lang>`, `utt2spk`, `utt2dur` (seconds as heard) and `feats_type` (`raw`).
    Where `dump_dir` is the data directory itself, its `utt2dur` stays as it is, there or not: shards are cut
    by it, and another one would make all of them stale.

    Args:
        suffix: `<frontend>_km<K>`, e.g. `mfcc_km200`; K is read from it unless `num_clusters` says.
        text: whether the set has transcripts; without, `text.ts.<lang>` is not written.
        lm_train: also write the transcripts that are not empty there (`dump/raw/lm_train.txt`).

    Returns:
        What report.json holds: unit use.

    Raises:
        InputError: a shard is missing, shards differ in what made them, or their utterances or their audio
            are not those of the data directory.
    """
    k = num_clusters or _num_clusters(suffix)
    out_dir, dump_dir = Path(out_dir), Path(dump_dir)
    data = DataDir.read(data_dir, text=text, allow_pipes=True)
    files = [shard_files(out_dir, k, shard, num_shards) for shard in range(1, num_shards + 1)]
    _check_shards(files, out_dir)
    labels_file = out_dir / f"pseudo_labels_km{k}.txt"
    names = [f"text.ts.{suffix}", f"text.rm.{suffix}"]
    others = ["utt2spk", "feats_type", *([f"text.ts.{lang}"] if text else [])]
    if dump_dir.resolve() != Path(data_dir).resolve():
        others.append("utt2dur")
    outputs = [labels_file, out_dir / "report.json", *(dump_dir / name for name in [*names, *others])]
    stamp = Stamp(
        dump_dir / f"{suffix}.done.json",
        inputs=[
            *(shard[part] for shard in files for part in ("labels", "seconds")),
            *(Path(data_dir) / name for name in ("utt2spk", "text")),
        ],
        options={"lang": lang, "text": text},
        outputs=outputs,
    )
    if lm_train:  # always: sets that are all up to date may take turns in it
        _write(lm_train, (f"{utt} {data.text[utt]}" for utt in data.utterances if data.text.get(utt)))
    if stamp.fresh():
        return stamp.result()
    seconds: dict[str, str] = {}
    for shard in files:
        if shard["seconds"].stat().st_size:
            seconds |= read_table(shard["seconds"])
    use = UnitUse(k)
    with ExitStack() as stack:
        labels = Labels([shard["labels"] for shard in files], stack)
        _check_utterances(set(data.utterances), set(labels.index), data_dir, out_dir)
        _check_current(files, data, data_dir, out_dir)
        out = stack.enter_context(atomic_write(labels_file))
        ts, rm = (stack.enter_context(atomic_write(dump_dir / name)) for name in names)
        for utterance in data.utterances:
            ids = labels.read(utterance)
            joined, _ = deduplicate(ids)
            use.add(ids, joined, float(seconds[utterance]), utterance)
            out.write(f"{utterance} {' '.join(map(str, ids.tolist()))}\n")
            ts.write(f"{utterance} {ids_to_text(ids)}\n")
            rm.write(f"{utterance} {ids_to_text(joined)}\n")
        stamp.withdraw()
    _write(dump_dir / "utt2spk", (f"{utt} {data.utt2spk[utt]}" for utt in data.utterances))
    _write(dump_dir / "feats_type", ["raw"])
    if "utt2dur" in others:
        _write(dump_dir / "utt2dur", (f"{utt} {seconds[utt]}" for utt in data.utterances))
    if text:
        _write(dump_dir / f"text.ts.{lang}", (f"{utt} {data.text[utt]}".rstrip() for utt in data.utterances))
    report = use.report()
    _write(out_dir / "report.json", [json.dumps(report, indent=1)])
    stamp.write(**report)
    return report


class UnitUse:
    """Counts how units are used."""

    def __init__(self, num_clusters: int):
        self.counts = np.zeros(num_clusters, dtype=np.int64)
        self.joined_counts = np.zeros(num_clusters, dtype=np.int64)
        self.utterances, self.seconds = 0, 0.0

    def add(self, ids: np.ndarray, joined: np.ndarray, seconds: float, utterance: str) -> None:
        """Count an utterance's units, before and after de-duplication."""
        if ids.min() < 0 or ids.max() >= len(self.counts):
            raise InputError(
                f"utterance {utterance} has unit {ids.max()}, but there are {len(self.counts)} clusters"
            )
        self.counts += np.bincount(ids, minlength=len(self.counts))
        self.joined_counts += np.bincount(joined, minlength=len(self.counts))
        self.utterances, self.seconds = self.utterances + 1, self.seconds + seconds

    def report(self) -> dict[str, Any]:
        """Entropies in bits a unit; dead clusters: those that this set never uses."""
        total, joined = int(self.counts.sum()), int(self.joined_counts.sum())
        return {
            "num_clusters": len(self.counts),
            "utterances": self.utterances,
            "seconds": round(self.seconds, 3),
            "units_ts": total,
            "units_rm": joined,
            "units_per_second_ts": round(total / max(self.seconds, 1e-9), 3),
            "units_per_second_rm": round(joined / max(self.seconds, 1e-9), 3),
            "entropy_bits_ts": round(_entropy(self.counts), 4),
            "entropy_bits_rm": round(_entropy(self.joined_counts), 4),
            "dead_clusters": np.flatnonzero(self.counts == 0).tolist(),
        }


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / max(1, counts.sum())
    return float(-(share * np.log2(share)).sum())


def _num_clusters(suffix: str) -> int:
    match = re.search(r"_km(\d+)$", suffix)
    if not match:
        raise InputError(f"suffix '{suffix}' does not end in _km<K>; give num_clusters")
    return int(match[1])


def _check_shards(shards: list[dict[str, Path]], out_dir: Path) -> None:
    """Every shard is complete, and all were made by the same front-end and centroids."""
    missing = [files["stamp"].name for files in shards if not all(path.exists() for path in files.values())]
    if missing:
        raise InputError(
            f"{out_dir}/shards: {len(missing)} of {len(shards)} shards are not done, first {missing[0]}; "
            "run stage 4 again, it redoes only these"
        )
    made = [json.loads(files["stamp"].read_text(encoding="utf-8"))["options"] for files in shards]
    for key in ("frontend", "centroids", "channels", "speed"):
        if any(options.get(key) != made[0].get(key) for options in made):
            raise InputError(f"{out_dir}/shards: shards were made with different {key}; run stage 4 again")


def _check_current(shards: list[dict[str, Path]], data: DataDir, data_dir: str | Path, out_dir: Path) -> None:
    """The shards are of the audio that the data directory has now: one that fails keeps its earlier files."""
    tables = {path.name: file_digest(path) for path in audio_tables(data_dir)}
    for files, part in zip(shards, split(data, len(shards)), strict=True):
        made = json.loads(files["stamp"].read_text(encoding="utf-8"))
        before = {Path(name).name: digest for name, digest in made.get("inputs", {}).items()}
        if before != tables or made["options"].get("audio") != audio_digest(part):
            raise InputError(
                f"{out_dir}/shards: {files['labels'].name} is of other audio than {data_dir} has now; "
                "run stage 4 again"
            )


def _check_utterances(expected: set[str], found: set[str], data_dir: str | Path, out_dir: Path) -> None:
    parts = []
    for what, ids in (
        ("missing in the shards", expected - found),
        ("not in the data directory", found - expected),
    ):
        if ids:
            parts.append(
                f"{len(ids)} utterances {what}: {' '.join(sorted(ids)[:SHOWN])}{' …' * (len(ids) > SHOWN)}"
            )
    if parts:
        raise InputError(f"{out_dir}/shards and {data_dir} differ: {'; '.join(parts)}; run stage 4 again")


def _write(path: str | Path, lines: Iterator[str] | list[str]) -> None:
    with atomic_write(path) as stream:
        stream.writelines(f"{line}\n" for line in lines)
