"""One decoded set: `result.json`, counts per utterance, and the trn files for sclite."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_json, read_table, write_json, write_table
from espnet_sld.scoring.environment import git_revision
from espnet_sld.scoring.error_rates import count_character_errors, count_word_errors
from espnet_sld.scoring.trn import read_pair, write_trn

COLUMNS = ("utt", "words", "hits", "sub", "ins", "del", "chars", "char_errors")


@dataclass(frozen=True)
class Result:
    """What `result.json` holds. `wer` and `cer` are percent, 0–100 and over; seconds are wall seconds.

    Fields that the decoder did not report are None (null in the file); `extra` keeps what else it reported.
    """

    set: str
    decode_tag: str
    wer: float
    cer: float
    hits: int
    sub: int
    ins: int
    deletions: int
    ref_words: int
    utterances: int
    ref_chars: int
    char_errors: int
    sentence_errors: int
    audio_seconds: float | None = None
    decode_seconds: float | None = None
    rtf: float | None = None
    objective: str | None = None
    model: str | None = None
    n_params: int | None = None
    git: str | None = None
    loops: int | None = None
    truncated: int | None = None
    seed: int | None = None
    checkpoint: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def cpu_rtf(self) -> float | None:
        """CPU seconds of all threads a second of audio; None where it is not known or a GPU helped."""
        seconds = self.extra.get("decode_cpu_seconds")
        if seconds is None or not self.audio_seconds or self.extra.get("device") != "cpu":
            return None
        return seconds / self.audio_seconds

    def as_dict(self) -> dict[str, Any]:
        """The JSON object: DESIGN's names (`del` is a Python keyword), extras last."""
        values = dataclasses.asdict(self)
        extra = values.pop("extra")
        renamed = {"del" if name == "deletions" else name: value for name, value in values.items()}
        return {**renamed, **{name: value for name, value in extra.items() if name not in renamed}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Result":
        """The inverse of `as_dict`. Raises TypeError if a count is absent."""
        values = {"deletions" if name == "del" else name: value for name, value in values.items()}
        names = {item.name for item in dataclasses.fields(cls)} - {"extra"}
        known = {name: value for name, value in values.items() if name in names}
        return cls(**known, extra={name: value for name, value in values.items() if name not in names})


@dataclass(frozen=True)
class UtteranceErrors:
    """Word counts per utterance, in C order of the ids."""

    utterances: tuple[str, ...]
    words: np.ndarray  # (N,) int64, of the reference
    errors: np.ndarray  # (N,) int64, S + I + D


MEASURED = frozenset(item.name for item in dataclasses.fields(Result)[:13]) | {"del", "extra"}


def score_set(
    hyp_text: str | os.PathLike,
    ref_text: str | os.PathLike,
    out_dir: str | os.PathLike,
    meta: Mapping[str, Any] | None = None,
    *,
    utt2spk: str | os.PathLike | None = None,
) -> Result:
    """Score one set; write `result.json`, `per_utterance.tsv`, `hyp.trn`, `ref.trn` and `text` in `out_dir`.

    Args:
        hyp_text, ref_text: Kaldi `text` or `.trn` files with the same utterances.
        out_dir: `exp/<system>/<decode_tag>/<set>`; the last two names go into the result.
        meta: what the decoder reported (`decode_seconds`, `audio_seconds`, `n_params`, …); it cannot
            override what is counted here.
        utt2spk: speakers for the trn files.

    Raises:
        InputError: utterances differ between the two files, or there are no reference words.
    """
    out_dir = Path(out_dir)
    utterances, references, hypotheses = read_pair(hyp_text, ref_text)
    words = count_word_errors(references, hypotheses)
    char_errors, chars = count_character_errors(references, hypotheses)
    if words.reference.sum() == 0:
        raise InputError(f"{ref_text}: all references are empty; an error rate needs at least one word")
    resolved = out_dir.resolve()
    result = Result.from_dict(
        {
            **_reported(meta or {}),
            "set": resolved.name,
            "decode_tag": resolved.parent.name,
            "wer": round(words.rate, 4),
            "cer": round(100.0 * int(char_errors.sum()) / int(chars.sum()), 4),
            "hits": int(words.hits.sum()),
            "sub": int(words.substitutions.sum()),
            "ins": int(words.insertions.sum()),
            "del": int(words.deletions.sum()),
            "ref_words": int(words.reference.sum()),
            "utterances": len(utterances),
            "ref_chars": int(chars.sum()),
            "char_errors": int(char_errors.sum()),
            "sentence_errors": int((words.errors > 0).sum()),
        }
    )
    speakers = read_table(utt2spk) if utt2spk is not None else None
    hypothesis_of = dict(zip(utterances, hypotheses, strict=True))
    write_trn(out_dir / "hyp.trn", hypothesis_of, speakers)
    write_trn(out_dir / "ref.trn", dict(zip(utterances, references, strict=True)), speakers)
    if Path(hyp_text).resolve() != (out_dir / "text").resolve():
        write_table(out_dir / "text", hypothesis_of)
    columns = (
        words.reference,
        words.hits,
        words.substitutions,
        words.insertions,
        words.deletions,
        chars,
        char_errors,
    )
    with atomic_write(out_dir / "per_utterance.tsv") as stream:
        stream.write("\t".join(COLUMNS) + "\n")
        for utterance, *counts in zip(utterances, *(column.tolist() for column in columns), strict=True):
            stream.write("\t".join([utterance, *map(str, counts)]) + "\n")
    # Last, so that a result stands only beside whole files.
    write_json(out_dir / "result.json", result.as_dict(), allow_nan=False)
    return result


def _reported(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's report without what is measured here; rtf and git completed."""
    reported = {name: value for name, value in meta.items() if name not in MEASURED}
    seconds, audio = reported.get("decode_seconds"), reported.get("audio_seconds")
    if reported.get("rtf") is None and seconds is not None and audio:
        reported["rtf"] = seconds / audio
    if reported.get("git") is None:
        reported["git"] = git_revision()
    return reported


def read_result(path: str | os.PathLike) -> Result:
    """Read a `result.json`. Raises InputError if it is missing, broken or of another layout."""
    try:
        return Result.from_dict(read_json(path))
    except TypeError as error:
        raise InputError(f"{path}: not a result of this toolkit ({error}); score again") from None


def read_counts(path: str | os.PathLike) -> tuple[list[str], dict[str, np.ndarray]]:
    """Utterances of a `per_utterance.tsv`, and column → int64 (N,).

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; score that decoding first") from None
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise InputError(f"{path}: its first line is not the header {' '.join(COLUMNS)}; score again")
    rows = [line.split("\t") for line in lines[1:]]
    try:
        table = np.array([[int(value) for value in row[1:]] for row in rows], dtype=np.int64)
        table = table.reshape(len(rows), len(COLUMNS) - 1)
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); score again") from None
    return [row[0] for row in rows], dict(zip(COLUMNS[1:], table.T, strict=True))


def word_errors(counts: Mapping[str, np.ndarray]) -> np.ndarray:
    """S + I + D (N,) of `read_counts`'s columns."""
    return counts["sub"] + counts["ins"] + counts["del"]


def read_utterance_errors(path: str | os.PathLike) -> UtteranceErrors:
    """Read a `per_utterance.tsv`. Raises InputError if it is missing or damaged."""
    utterances, counts = read_counts(path)
    return UtteranceErrors(tuple(utterances), counts["words"], word_errors(counts))
