"""Soft labels of a corpus on disk: written in shards that resume, read by utterance from mapped memory."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.models.soft_labels import SoftLabels, TeacherTotals, soft_labels
from espnet_sld.models.teacher import MaskedTeacher
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp, file_digest


class SoftLabelWriter:
    """Writes `<path>` (safetensors: offsets, tokens, ids, probs) and `<path>.json` (index, report, stamp).

    Utterances with the same transcript (speed-perturbed copies) share one entry. Shards may be written by
    several processes, each its own; `merge` joins them. What is up to date is not made again.

    Args:
        path: the safetensors file.
        utterances: utterance → transcript in student ids.
        teacher: gives the teacher when the first shard needs it.
        identity: what else the labels depend on, e.g. `teacher_identity(directory)`.
        k, temperature, max_tokens: see `soft_labels`. shard_size: transcripts a shard.
    """

    def __init__(
        self,
        path: str | Path,
        utterances: Mapping[str, Sequence[int]],
        teacher: Callable[[], MaskedTeacher],
        identity: Mapping[str, Any],
        *,
        k: int = 8,
        temperature: float = 3.0,
        max_tokens: int = 8192,
        shard_size: int = 2000,
    ):
        if not utterances:
            raise InputError(f"{path}: no utterance to make soft labels of")
        self.path, self.shards = Path(path), Path(f"{path}.shards")
        self.k, self.temperature, self.max_tokens = k, temperature, max_tokens
        self.shard_size, self._open, self._teacher = shard_size, teacher, None
        places: dict[tuple[int, ...], int] = {}
        self.index = {
            name: places.setdefault(tuple(map(int, utterances[name])), len(places))
            for name in sorted(utterances)
        }
        self.transcripts = list(places)
        self.options = {**identity, "k": k, "temperature": temperature}

    @property
    def num_shards(self) -> int:
        """How many shards there are."""
        return -(-len(self.transcripts) // self.shard_size)

    def write(self) -> dict[str, float]:
        """All shards and the merge; returns the report."""
        if not self.final_stamp().fresh():
            self.write_shards(range(self.num_shards))
            self.merge()
        return json.loads(_index_path(self.path).read_text(encoding="utf-8"))["result"]["report"]

    def write_shards(self, numbers: Iterable[int]) -> None:
        """Make the shards of these numbers (0…num_shards−1) that are not up to date."""
        numbers = list(numbers)
        for number in track(numbers, len(numbers), "soft labels", unit="shards"):
            if (stamp := self._shard_stamp(number)).fresh():
                continue
            self._teacher = self._teacher or self._open()
            transcripts = self._shard(number)
            labels, totals = soft_labels(
                self._teacher,
                transcripts,
                k=self.k,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            with atomic_write(self._shard_path(number), "wb") as stream:
                stream.write(save(_arrays(transcripts, labels)))
            stamp.write(totals=vars(totals))

    def merge(self) -> None:
        """Join the shards into the store and remove them.

        Raises:
            InputError: a shard is missing or out of date.
        """
        totals, parts = TeacherTotals(), []
        for number in range(self.num_shards):
            if not (stamp := self._shard_stamp(number)).fresh():
                raise InputError(f"{self._shard_path(number)}: missing or out of date; run the stage again")
            totals.add(TeacherTotals(**stamp.result()["totals"]))
            parts.append(load(self._shard_path(number).read_bytes()))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in ("tokens", "ids", "probs")}
        lengths = [len(transcript) for transcript in self.transcripts]
        arrays["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        stamp = self.final_stamp()
        with atomic_write(self.path, "wb") as stream:
            stream.write(save(arrays, metadata={"content": stamp.options["content"]}))
        report = {
            "utterances": len(self.index),
            "transcripts": len(self.transcripts),
            **totals.report(),
            "k": int(arrays["ids"].shape[1]),
            "temperature": self.temperature,
        }
        stamp.write(report=report, utterances=self.index)
        shutil.rmtree(self.shards)

    def final_stamp(self) -> Stamp:
        """Is the whole store up to date?"""
        content = _digest([sorted(self.index.items()), self.transcripts, self.options])
        return Stamp(
            _index_path(self.path), options={**self.options, "content": content}, outputs=[self.path]
        )

    def _shard(self, number: int) -> list[tuple[int, ...]]:
        return self.transcripts[number * self.shard_size : (number + 1) * self.shard_size]

    def _shard_path(self, number: int) -> Path:
        return self.shards / f"{number:05d}.safetensors"

    def _shard_stamp(self, number: int) -> Stamp:
        path = self._shard_path(number)
        options = {**self.options, "content": _digest(self._shard(number))}
        return Stamp(path.with_suffix(".json"), options=options, outputs=[path])


class SoftLabelStore:
    """Reads soft labels by utterance; safe to copy into worker processes.

    Args:
        path: what `SoftLabelWriter` wrote.

    Raises:
        InputError: no such file, or its index belongs to another.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            record = json.loads(_index_path(self.path).read_text(encoding="utf-8"))
            with safe_open(self.path, framework="numpy") as stored:
                content = (stored.metadata() or {}).get("content")
                self.offsets = stored.get_tensor("offsets")
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(
                f"{self.path}: no soft labels ({error}); run the stage that writes them"
            ) from None
        if content != record["options"]["content"]:
            raise InputError(
                f"{self.path}: written apart from its .json; run the stage that writes them again"
            )
        self.index: dict[str, int] = record["result"]["utterances"]
        self.report: dict[str, float] = record["result"]["report"]
        self.k = int(self.report["k"])
        self._stored: Any = None

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, utterance: str) -> bool:
        return utterance in self.index

    def get(self, utterance: str, tokens: Sequence[int] | np.ndarray | None = None) -> SoftLabels:
        """Labels (L, k) of an utterance.

        Args:
            tokens: the transcript (L,) that they must belong to, if given.

        Raises:
            InputError: an unknown utterance, or labels of another transcript.
        """
        if utterance not in self.index:
            raise InputError(f"{self.path}: no soft labels of '{utterance}'; run the stage that writes them")
        if self._stored is None:
            handle = safe_open(self.path, framework="numpy").__enter__()
            self._stored = {name: handle.get_slice(name) for name in ("tokens", "ids", "probs")}
        place = self.index[utterance]
        first, last = int(self.offsets[place]), int(self.offsets[place + 1])
        if tokens is not None and not np.array_equal(self._stored["tokens"][first:last], np.asarray(tokens)):
            raise InputError(
                f"{self.path}: the labels of '{utterance}' belong to another transcript or token list; run "
                "the stage that writes them again"
            )
        return SoftLabels(self._stored["ids"][first:last], self._stored["probs"][first:last])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stored": None}  # each process maps the file for itself


def teacher_identity(directory: str | Path) -> dict[str, Any]:
    """Content hashes of a teacher's files, for the stamps."""
    files = sorted(path for path in Path(directory).iterdir() if path.is_file())
    return {"teacher": {path.name: file_digest(path) for path in files if not path.name.startswith(".")}}


def _arrays(transcripts: Sequence[Sequence[int]], labels: Sequence[SoftLabels]) -> dict[str, np.ndarray]:
    return {
        "tokens": np.array([token for tokens in transcripts for token in tokens], dtype=np.int32),
        "ids": np.concatenate([label.ids for label in labels]),
        "probs": np.concatenate([label.probs for label in labels]),
    }


def _index_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
