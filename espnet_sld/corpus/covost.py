"""CoVoST 2 (Wang, Wu, Pino 2020): speech translation on Common Voice's clips, as Kaldi data directories.

Two sources that the user has: Common Voice's folder of the source language (`validated.tsv`, `clips/`), and
CoVoST's `covost_v2.<src>_<tgt>.tsv` (columns path, translation, split). They are joined by the clip's name;
the training set has the rows of split `train` and `train_covost`, dev and test those of their own name.
"""

import csv
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, write_table

SPLITS = {"train": ("train", "train_covost"), "dev": ("dev",), "test": ("test",)}
SPEAKER_LETTERS = 16  # of the client's id, a hexadecimal digest of 128
PUNCTUATION = re.compile(r"[^\w\s'’-]|(?<!\w)['’-]|['’-](?!\w)")


@dataclass
class TranslationSet:
    """Recordings with transcripts, their translations, and the rows that were left out with the reason."""

    data: DataDir
    translation: dict[str, str] = field(default_factory=dict)
    dropped: list[tuple[str, str]] = field(default_factory=list)


def read_tsv(path: str | os.PathLike, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Rows of a table as Common Voice and CoVoST write it: tabs, no quotes, backslash escapes.

    Raises:
        InputError: the file is missing, not UTF-8, lacks a column, or a row has another number of fields.
    """
    path = Path(path)
    try:
        stream = path.open(encoding="utf-8", newline="")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; get it where the corpus is published") from None
    with stream:
        reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\")
        try:
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
            if absent:
                raise InputError(f"{path}: has no column {', '.join(absent)}; found {reader.fieldnames}")
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(f"{path}:{reader.line_num}: another number of fields than the header")
                yield {name: row[name] for name in columns}
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 ({error.reason}); download it again") from None
        except csv.Error as error:
            raise InputError(f"{path}:{reader.line_num}: {error}; download it again") from None


def normalise(text: str, *, lower: bool, punctuation: bool) -> str:
    """Words with single spaces; optionally in lower case, and without punctuation (in-word ' and - stay)."""
    text = text.lower() if lower else text
    return " ".join((text if punctuation else PUNCTUATION.sub(" ", text)).split())


def prepare(
    common_voice_dir: str | os.PathLike,
    covost_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    source: str,
    target: str,
    *,
    lower: tuple[bool, bool] = (True, False),
    punctuation: tuple[bool, bool] = (False, True),
    skip_missing: bool = False,
) -> dict[str, TranslationSet]:
    """Write `data_dir/covost_<src>_<tgt>_{train,dev,test}`: a data directory with `text` (transcript),
    `text.<tgt>` (translation) and `dropped.tsv` (what was left out and why, if anything was).

    Args:
        covost_dir: the folder of `covost_v2.<src>_<tgt>.tsv`.
        lower, punctuation: of (transcript, translation): put it in lower case; keep its punctuation.
        skip_missing: leave out rows whose clip is missing; otherwise that is an error.

    Raises:
        InputError: a table or clips are missing, a clip is listed twice, or a split has no row.
    """
    root = Path(common_voice_dir)
    table = Path(covost_dir) / f"covost_v2.{source}_{target}.tsv"
    rows: dict[str, dict[str, str]] = {}
    for row in read_tsv(table, ("path", "translation", "split")):
        if row["path"] in rows:
            raise InputError(f"{table}: clip {row['path']} occurs twice; download the table again")
        rows[row["path"]] = row
    sentences = {
        row["path"]: row for row in read_tsv(root / "validated.tsv", ("path", "sentence", "client_id"))
        if row["path"] in rows
    }  # fmt: skip
    clips = {entry.name for entry in os.scandir(root / "clips")} if (root / "clips").is_dir() else set()
    missing = [name for name in rows if name in sentences and name not in clips]
    if missing and not skip_missing:
        raise InputError(
            f"{root / 'clips'}: {len(missing)} of {len(rows)} clips are missing ({', '.join(missing[:3])} …);"
            " unpack Common Voice there, or leave their rows out with --skip_missing true"
        )
    result = {}
    for split, names in SPLITS.items():
        current = TranslationSet(DataDir({}, {}))
        for clip, row in rows.items():
            if row["split"] in names:
                _add(current, clip, row, sentences.get(clip), clip in clips, root, lower, punctuation)
        if not len(current.data):
            reasons = Counter(why for _, why in current.dropped)
            raise InputError(f"{table}: no usable row of split {split}; left out: {dict(reasons)}")
        name = f"covost_{source}_{target}_{split}"
        current.data.write(Path(data_dir) / name)
        write_table(Path(data_dir) / name / f"text.{target}", current.translation)
        _write_dropped(Path(data_dir) / name / "dropped.tsv", current.dropped)
        if current.dropped:
            reasons = Counter(why for _, why in current.dropped)
            logging.warning(
                f"{name}: left out {len(current.dropped)} rows, listed in dropped.tsv: {dict(reasons)}"
            )
        result[name] = current
    return result


def _add(
    current: TranslationSet,
    clip: str,
    row: dict[str, str],
    sentence: dict[str, str] | None,
    present: bool,
    root: Path,
    lower: tuple[bool, bool],
    punctuation: tuple[bool, bool],
) -> None:
    """One row to a set, or to what is left out."""
    if sentence is None:
        current.dropped.append((clip, "not in validated.tsv"))
        return
    transcript = normalise(sentence["sentence"], lower=lower[0], punctuation=punctuation[0])
    translation = normalise(row["translation"], lower=lower[1], punctuation=punctuation[1])
    why = "no clip" if not present else "empty transcript" if not transcript else "empty translation"
    if not (present and transcript and translation):
        current.dropped.append((clip, why))
        return
    speaker = sentence["client_id"][:SPEAKER_LETTERS]
    utterance = f"{speaker}-{Path(clip).stem}"
    current.data.wav[utterance] = str(root / "clips" / clip)
    current.data.utt2spk[utterance] = speaker
    current.data.text[utterance] = transcript
    current.translation[utterance] = translation


def _write_dropped(path: Path, dropped: list[tuple[str, str]]) -> None:
    if not dropped:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as stream:
        stream.writelines(f"{clip}\t{why}\n" for clip, why in sorted(dropped))
