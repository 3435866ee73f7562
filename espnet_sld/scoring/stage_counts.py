"""What the files that a stage writes last can tell: how many, of what. Standard library only."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from espnet_sld.errors import InputError
from espnet_sld.files import read_json

FINISHED = re.compile(rb"training (?:finished after|was finished at) (\d+) epochs")  # ours, ESPnet's
BLOCK = 1 << 20


class Counts(NamedTuple):
    """Of one file.

    Attributes:
        sums: what → number; added up over files. `seconds` are of speech.
        own: what cannot be added up, such as an error rate.
    """

    sums: Mapping[str, float]
    own: str = ""


class Kind(NamedTuple):
    """Files of one name.

    Attributes:
        name: pattern of the whole file name.
        one, many: words for one and for several, with `{}` for the number.
        count: path → counts.
        named: the folder's name stands before the file's own figure.
        unit: what the own figures count.
    """

    name: str
    one: str
    many: str
    count: Callable[[Path], Counts]
    named: bool = False
    unit: str = ""


def kind_of(path: Path) -> Kind:
    """The kind that a file is of by its name; of none that is known, the last one."""
    return next(kind for kind in KINDS if re.fullmatch(kind.name, path.name))


def _json(path: Path) -> dict[str, Any]:
    """An object; in a file of another layout nothing is counted."""
    return read_json(path, other={})


def _picked(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """Numbers of `values` by the words that people read; those that are not there are left out."""
    return {words: values[name] for name, words in names.items() if isinstance(values.get(name), int | float)}


def _recorded(names: Mapping[str, str]) -> Callable[[Path], Counts]:
    return lambda path: Counts(_picked(_json(path), names))


def _stamped(names: Mapping[str, str]) -> Callable[[Path], Counts]:
    """What a stamp keeps as its result."""
    return lambda path: Counts(_picked(_json(path).get("result") or {}, names))


def _lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(BLOCK), b""))


def _table(words: str) -> Callable[[Path], Counts]:
    return lambda path: Counts({words: _lines(path)})


def _data_dir(path: Path) -> Counts:
    """`utt2spk`; beside it `utt2dur`, where the lengths are known."""
    sums: dict[str, float] = {"utterances": _lines(path)}
    durations = path.with_name("utt2dur")
    if durations.is_file():
        with durations.open(encoding="utf-8") as stream:
            sums["seconds"] = sum(_seconds(line, durations) for line in stream)
    return Counts(sums)


def _seconds(line: str, path: Path) -> float:
    try:
        return float(line.split()[1])
    except (IndexError, ValueError):
        raise InputError(f"{path}: '{line.strip()}' is not 'utterance seconds'; make it again") from None


def _shapes(path: Path) -> Counts:
    result = _json(path).get("result") or {}
    tokens = _picked(result.get("sequence") or {}, {"total": "tokens"})
    return Counts(_picked(result, {"utterances": "utterances"}) | tokens)


def _soft_labels(path: Path) -> Counts:
    report = (_json(path).get("result") or {}).get("report") or {}
    return Counts(_picked(report, {"utterances": "utterances", "transcripts": "different transcripts"}))


def _epochs(path: Path) -> Counts:
    """By the log beside it, if the training ended in that."""
    log = path.with_name("train.log")
    found: list[bytes] = []
    if log.is_file():
        with log.open("rb") as stream:
            found = [match[1] for line in stream if (match := FINISHED.search(line))]
    return Counts({"epochs": int(found[-1])} if found else {})


def _training(path: Path) -> Counts:
    """A vocoder's stamp says what it was trained on; a recogniser's does not."""
    vocoder = _stamped({"utterances": "utterances", "frames": "frames"})(path)
    return vocoder if vocoder.sums else _epochs(path)


def _result(path: Path) -> Counts:
    """With the figure of the set's task: BLEU, captions that name the right class, or the word error rate."""
    values = _json(path)
    figures = {"bleu": "BLEU {:.1f}", "class_accuracy": "{:.1f} % right", "wer": "WER {:.2f} %"}
    own = [words.format(values[name]) for name, words in figures.items() if values.get(name) is not None]
    return Counts(_picked(values, UTTERANCES), own[0] if own else "")


def _pack(path: Path) -> Counts:
    """All files of the folder that the manifest is of."""
    sizes = [file.stat().st_size for file in path.parent.rglob("*") if file.is_file()]
    return Counts({"files": len(sizes), "bytes": sum(sizes)})


UTTERANCES = {"utterances": "utterances"}
UNITS = {**UTTERANCES, "seconds": "seconds", "units_ts": "units", "units_rm": "without repeats"}
KMEANS = {"num_clusters": "clusters", "frames": "frames"}
IMAGES = {"images": "images", "tokens": "tokens"}
TEACHER = {"sentences": "sentences"}
KINDS = (
    Kind(r"utt2spk", "{} data directory", "{} data directories", _data_dir),
    Kind(r".+_km\d+\.done\.json", "units of {} set", "units of {} sets", _stamped(UNITS)),
    Kind(r"km_\d+\.json", "{} k-means", "{} k-means", _recorded(KMEANS)),
    Kind(
        *(r"tokens\.txt", "{} token list", "{} token lists"),
        lambda path: Counts({}, str(_lines(path))),
        unit="tokens",
    ),
    Kind(r"report\.done\.json", "{} report of units", "{} reports of units", lambda path: Counts({})),
    Kind(r"shapes\.done\.json", "lengths of {} set", "lengths of {} sets", _shapes),
    Kind(r".+_shape", "lengths of {} set", "lengths of {} sets", _table("utterances")),
    Kind(r"model\.done\.json", "{} teacher", "{} teachers", _stamped(TEACHER)),
    Kind(r".+\.safetensors\.json", "soft labels of {} set", "soft labels of {} sets", _soft_labels),
    Kind(r"finished", "{} language model", "{} language models", _epochs),
    Kind(r"train\.done\.json", "{} trained model", "{} trained models", _training),
    Kind(r"checkpoint\.pth", "{} trained model", "{} trained models", _epochs),
    Kind(r"decode\.done\.json", "{} decoded set", "{} decoded sets", _stamped(UTTERANCES)),
    Kind(r"synthesis\.done\.json", "speech of {} set", "speech of {} sets", _stamped(UTTERANCES)),
    Kind(r"result\.json", "{} scored set", "{} scored sets", _result, named=True),
    Kind(r"manifest\.json", "{} pack", "{} packs", _pack),
    Kind(r"fit\.done\.json", "{} image quantiser", "{} image quantisers", _stamped({"images": "images"})),
    Kind(r"image_tokens\.done\.json", "tokens of {} image set", "tokens of {} image sets", _stamped(IMAGES)),
    Kind(r"text\..+", "{} text", "{} texts", _table("lines")),
    Kind(r".*", "{} file", "{} files", lambda path: Counts({})),
)
