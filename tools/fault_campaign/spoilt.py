"""A good data directory to be spoilt, and what a kind of malformed data is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

SPEAKERS, DIGITS = ("george", "jackson"), 6
WORDS = ("zero", "one", "two", "three", "four", "five")
BAD = "george-2"  # the utterance that is spoilt, with its recording
FORMATS = {"george-3": "flac", "george-4": "ogg"}  # all others are WAV
SETS = ("train", "dev")
ALL = len(SPEAKERS) * DIGITS  # utterances of a set


@dataclass(frozen=True)
class Place:
    """A recipe folder with `data/train`, `data/dev` and their recordings in `data/wavs`."""

    folder: Path

    def table(self, name: str) -> Path:
        """A table of the training set."""
        return self.folder / "data" / "train" / name

    def audio(self, utterance: str = BAD) -> Path:
        """The recording of an utterance of the training set."""
        return self.folder / "data" / "wavs" / f"{utterance}.{FORMATS.get(utterance, 'wav')}"

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the first occurrence in a table."""
        path = self.table(name)
        text = path.read_bytes()
        assert old.encode() in text, (path, old)
        path.write_bytes(text.replace(old.encode(), new.encode("latin-1" if "\xe9" in new else "utf-8"), 1))

    def cut(self, path: Path, bytes_left_out: int) -> None:
        """Leave out the end of a file."""
        path.write_bytes(path.read_bytes()[:-bytes_left_out])

    def labels(self, utterance: str = BAD) -> list[str]:
        """Units of an utterance of the training set, as stage 4 wrote them."""
        (path,) = self.folder.glob("dump/extracted/mfcc/train/pseudo_labels_km*.txt")
        rows = dict(line.split(" ", 1) for line in path.read_text().splitlines())
        return rows[utterance].split()

    def segments(self, *, bad: str) -> None:
        """Every recording a segment of its own; `bad`: recording, start and end of the spoilt one."""
        names = sorted(line.split()[0] for line in self.table("utt2spk").read_text().splitlines())
        rows = (f"{name} {bad if name == BAD else f'{name} 0 -1'}\n" for name in names)
        self.table("segments").write_text("".join(rows))

    def samples(self) -> np.ndarray:
        """Of the recording that is to be spoilt, float64 (n,)."""
        return soundfile.read(self.audio())[0]

    def write(self, samples: np.ndarray, rate: int = 8000, **options: str) -> None:
        """Put other samples in its place."""
        soundfile.write(self.audio(), samples, rate, **options)


@dataclass(frozen=True)
class Kind:
    """One way of being malformed.

    Attributes:
        fault: in words. spoil: makes it.
        stage: that must refuse it; 0 if it is accepted up to stage 5.
        says: what the message has: where, and the remedy. Of an accepted one: what is printed.
        fixed: what utils/fix_data_dir says that it did; "" where it is not the remedy.
        options: of the recipe. limit: how it is run, see `bad_data.LIMITS`.
        outcome: for the table, of an accepted one.
    """

    fault: str
    spoil: Callable[[Place], None]
    stage: int
    says: tuple[str, ...]
    fixed: str = ""
    options: tuple[str, ...] = ()
    limit: str = ""
    outcome: str = ""


def make(folder: Path, recordings: Path) -> Place:
    """The good data directories, of real recordings (Free Spoken Digit Dataset); paths are relative."""
    wavs = folder / "data" / "wavs"
    wavs.mkdir(parents=True)
    for number, name in enumerate(SETS):
        rows: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        for speaker in SPEAKERS:
            for digit in range(DIGITS):
                utterance = f"{speaker}-{digit}" + ("" if name == "train" else "-dev")
                suffix = FORMATS.get(utterance, "wav")
                source = recordings / "recordings" / f"{digit}_{speaker}_{number}.wav"
                target = wavs / f"{utterance}.{suffix}"
                if suffix == "wav":
                    shutil.copyfile(source, target)
                else:
                    soundfile.write(target, *soundfile.read(source))
                rows["wav.scp"].append(f"{utterance} data/wavs/{target.name}\n")
                rows["text"].append(f"{utterance} {WORDS[digit]}\n")
                rows["utt2spk"].append(f"{utterance} {speaker}\n")
        (folder / "data" / name).mkdir()
        for table, lines in rows.items():
            (folder / "data" / name / table).write_text("".join(lines))
    return Place(folder)
