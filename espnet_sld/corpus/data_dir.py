"""Kaldi data directories in memory: wav.scp, segments, text, utt2spk and what goes with them."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from espnet_sld.corpus.checks import UNTIL_END, Scan, parse_segment, raise_if_any, scan_data_dir
from espnet_sld.files import write_table


class Span(NamedTuple):
    """Where an utterance lies: recording, start and end in seconds; end −1: until the recording's end."""

    recording: str
    start: float = 0.0
    end: float = UNTIL_END


def restrict(table: dict | None, keys: Iterable[str]) -> dict | None:
    """The rows of a table for these keys, in C order; None stays None."""
    return None if table is None else {key: table[key] for key in sorted(set(keys)) if key in table}


@dataclass
class DataDir:
    """Recordings and utterances of one set; dictionaries are keyed by id and sorted in C order.

    Attributes:
        wav: recording → file, `ark:offset` or (only where allowed) `command |`.
        utt2spk: utterance → speaker; its keys are the utterances.
        text: utterance → transcript; may be empty as a whole.
        segments: utterance → `Span`; None if every recording is one utterance.
        utt2speed: utterance → factor by which the reader speeds the audio up; None means 1.0.
            Times in `segments` are those of the original recording.
        utt2dur: utterance → seconds as heard, that is after the speed factor; None if unknown.
        spk2gender: speaker → `m` or `f`; speakers may be missing; None if unknown.
    """

    wav: dict[str, str]
    utt2spk: dict[str, str]
    text: dict[str, str] = field(default_factory=dict)
    segments: dict[str, Span] | None = None
    utt2speed: dict[str, float] | None = None
    utt2dur: dict[str, float] | None = None
    spk2gender: dict[str, str] | None = None

    @classmethod
    def read(
        cls,
        path: str | os.PathLike,
        *,
        text: bool = True,
        allow_pipes: bool = False,
        check_files: bool = False,
    ) -> "DataDir":
        """Read and check a directory; see `checks.scan_data_dir` for the arguments.

        Raises:
            InputError: naming every problem of the directory and the remedy.
        """
        scan = scan_data_dir(path, text=text, allow_pipes=allow_pipes, check_files=check_files)
        raise_if_any(scan)
        for warning in scan.warnings:
            logging.warning(warning)
        return cls.from_scan(scan)

    @classmethod
    def from_scan(cls, scan: Scan) -> "DataDir":
        """The rows that the scan kept, as they are."""

        def numbers(name: str) -> dict[str, float] | None:
            rows = scan.rows(name)
            return {key: float(value) for key, value in rows.items()} if name in scan.tables else None

        segments = None
        if "segments" in scan.tables:
            segments = {key: Span(*parse_segment(value)) for key, value in scan.rows("segments").items()}
        genders = None
        if "spk2gender" in scan.tables:
            genders = restrict(scan.rows("spk2gender"), scan.rows("utt2spk").values())
        return cls(
            wav=scan.rows("wav.scp"),
            utt2spk=scan.rows("utt2spk"),
            text=scan.rows("text"),
            segments=segments,
            utt2speed=numbers("utt2speed"),
            utt2dur=numbers("utt2dur"),
            spk2gender=genders,
        )

    @property
    def utterances(self) -> list[str]:
        """Utterance ids in C order."""
        return sorted(self.utt2spk)

    def __len__(self) -> int:
        return len(self.utt2spk)

    @property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker → its utterances, both in C order."""
        result: dict[str, list[str]] = {}
        for utt in self.utterances:
            result.setdefault(self.utt2spk[utt], []).append(utt)
        return dict(sorted(result.items()))

    def span(self, utt: str) -> Span:
        """Recording, start and end of an utterance."""
        return self.segments[utt] if self.segments is not None else Span(utt)

    def speed(self, utt: str) -> float:
        """Speed factor of an utterance."""
        return self.utt2speed[utt] if self.utt2speed is not None else 1.0

    def select(self, utterances: Iterable[str]) -> "DataDir":
        """The same set with these utterances only, and the recordings that they need."""
        keep = sorted(set(utterances))
        recordings = sorted({self.span(utt).recording for utt in keep})
        part = partial(restrict, keys=keep)
        return replace(
            self,
            wav={recording: self.wav[recording] for recording in recordings},
            utt2spk=part(self.utt2spk),
            text=part(self.text),
            segments=part(self.segments),
            utt2speed=part(self.utt2speed),
            utt2dur=part(self.utt2dur),
            spk2gender=restrict(self.spk2gender, {self.utt2spk[utt] for utt in keep}),
        )

    def write(self, path: str | os.PathLike) -> Path:
        """Write every file sorted and whole; optional files that this set lacks are removed.

        utt2spk is written last: a directory that a kill left half-way lacks it, or has all the rest.
        """
        path = Path(path)
        tables: dict[str, dict[str, str] | None] = {
            "wav.scp": self.wav,
            "text": self.text or None,
            "segments": self.segments
            and {utt: f"{s.recording} {s.start:.10g} {s.end:.10g}" for utt, s in self.segments.items()},
            "utt2speed": self.utt2speed and {utt: f"{x:g}" for utt, x in self.utt2speed.items()},
            "utt2dur": self.utt2dur and {utt: f"{x:.5f}" for utt, x in self.utt2dur.items()},
            "spk2gender": self.spk2gender,
            "spk2utt": {speaker: " ".join(utts) for speaker, utts in self.spk2utt.items()},
            "utt2spk": self.utt2spk,
        }
        (path / "utt2spk").unlink(missing_ok=True)
        for name, rows in tables.items():
            if rows is None or (not rows and name in ("segments", "spk2gender", "utt2speed", "utt2dur")):
                (path / name).unlink(missing_ok=True)
            else:
                write_table(path / name, rows)
        return path
