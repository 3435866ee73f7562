"""Transcripts on disk: sclite's `words (spk-utt)` files, and pairing Kaldi's `text` files."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table

LINE = re.compile(r"^(?P<words>|.*?\s)\s*\((?P<id>\S+)\)\s*$")  # ids may have parentheses, too
GLUED = re.compile(r"^(?P<words>.*?)\((?P<id>[^()\s]+)\)\s*$")  # `words(id)` of other programs


def write_trn(
    path: str | os.PathLike, texts: Mapping[str, str], utt2spk: Mapping[str, str] | None = None
) -> None:
    """Write `words (spk-utt)` lines in C order of the utterance ids, atomically.

    sclite takes the speaker from what precedes the first `-`; without `utt2spk`, or for an utterance that it
    lacks, the id is written as it is.
    """
    speakers = utt2spk or {}
    with atomic_write(path) as stream:
        for utterance in sorted(texts, key=str.encode):
            speaker = speakers.get(utterance)
            name = f"{speaker}-{utterance}" if speaker else utterance
            stream.write(f"{texts[utterance]} ({name})".lstrip() + "\n")


def read_trn(path: str | os.PathLike) -> dict[str, str]:
    """Read `words (id)` lines into {id: words}; the id is kept whole, speaker included.

    Raises:
        InputError: the file is missing or not UTF-8, a line has no id, or an id is doubled.
    """
    path = Path(path)
    texts: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the scoring stage first") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = LINE.match(line) or GLUED.match(line)
        if match is None:
            raise InputError(f"{path}:{number}: no '(id)' at the end of the line; this is not a trn file")
        if match["id"] in texts:
            raise InputError(f"{path}:{number}: '{match['id']}' occurs twice; ids must be unique")
        texts[match["id"]] = match["words"].strip()
    return texts


def read_transcripts(path: str | os.PathLike) -> dict[str, str]:
    """{utterance: words} of a `.trn` file or of a Kaldi `text` file; words may be empty."""
    if Path(path).suffix == ".trn":
        return read_trn(path)
    return read_table(path, allow_empty_value=True)


def read_pair(
    hyp_text: str | os.PathLike, ref_text: str | os.PathLike
) -> tuple[list[str], list[str], list[str]]:
    """Utterance ids in C order with their references and hypotheses.

    Raises:
        InputError: an utterance is in one file only (a lost hypothesis would flatter the error rate),
            or there is no utterance at all.
    """
    hypotheses, references = read_transcripts(hyp_text), read_transcripts(ref_text)
    if not references:
        raise InputError(f"{ref_text}: no references; give the text of the set that was decoded")
    missing = [name for name in references if name not in hypotheses]
    if missing:
        raise InputError(
            f"{hyp_text}: no hypothesis for {_named(missing)} of {ref_text}; decode again "
            "(an utterance for which nothing was recognised needs a line with its id alone)"
        )
    extra = [name for name in hypotheses if name not in references]
    if extra:
        raise InputError(
            f"{ref_text}: no reference for {_named(extra)} of {hyp_text}; give the decoded set's text"
        )
    utterances = sorted(references, key=str.encode)
    return utterances, [references[name] for name in utterances], [hypotheses[name] for name in utterances]


def _named(names: list[str], shown: int = 5) -> str:
    what = "utterance" if len(names) == 1 else f"{len(names)} utterances:"
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{what} {', '.join(names[:shown])}{more}"
