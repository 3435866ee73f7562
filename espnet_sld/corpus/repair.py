"""Validation including the audio itself, and repair: sort, clean, and drop what cannot be used."""

import itertools
import logging
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from espnet_sld.corpus.audio import utterances
from espnet_sld.corpus.checks import BACKUP, Scan, raise_if_any, scan_data_dir
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.durations import durations
from espnet_sld.corpus.tables import Problem
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write

FILES = ("wav.scp", "text", "segments", "utt2spk", "spk2utt", "spk2gender", "utt2speed", "utt2dur")


def validate(
    path: str | os.PathLike,
    *,
    text: bool = True,
    allow_pipes: bool = False,
    check_audio: bool = False,
    expected_rate: int | None = None,
    channels: str = "mono",
) -> DataDir:
    """Check a directory, its files on disk, and with `check_audio` that every recording can be decoded.

    Raises:
        InputError: naming every problem and the remedy.
    """
    scan = scan_data_dir(path, text=text, allow_pipes=allow_pipes)
    data = DataDir.from_scan(scan)
    if check_audio or expected_rate is not None:
        data = _usable(data, text)
        _decode_all(scan, data, allow_pipes, expected_rate, channels)
    raise_if_any(scan)
    for warning in scan.warnings:
        logging.warning(warning)
    return data


def _decode_all(
    scan: Scan, data: DataDir, allow_pipes: bool, expected_rate: int | None, channels: str
) -> set[str]:
    """Decode everything; note what fails as problems of the scan, and return those utterances."""
    bad: set[str] = set()

    def note(utt: str, error: InputError) -> None:
        bad.add(utt)
        scan.problems.append(Problem("unreadable audio", str(scan.path / "wav.scp"), utt, str(error)))

    for _ in utterances(
        data, allow_pipes=allow_pipes, expected_rate=expected_rate, channels=channels, on_error=note
    ):
        pass
    return bad


def _usable(data: DataDir, text: bool) -> DataDir:
    """The utterances that every table has."""
    keep = set(data.utt2spk) & set(data.segments if data.segments is not None else data.wav)
    if data.segments is not None:
        keep = {utt for utt in keep if data.segments[utt].recording in data.wav}
    for table in (data.text if text else None, data.utt2speed, data.utt2dur):
        if table is not None:
            keep &= set(table)
    return data.select(keep)


@dataclass(frozen=True)
class Repair:
    """What `fix` did: utterances kept, utterances dropped with the reason, and other lines mended."""

    kept: int
    dropped: dict[str, str]
    mended: Counter

    def summary(self, shown: int = 10) -> str:
        """For people: counts by reason, and the first dropped utterances of each."""
        lines = [f"kept {self.kept} utterances, dropped {len(self.dropped)}"]
        by_reason: dict[str, list[str]] = {}
        for utt, reason in self.dropped.items():
            by_reason.setdefault(reason, []).append(utt)
        for reason, utts in sorted(by_reason.items()):
            rest = f" … and {len(utts) - shown} more" if len(utts) > shown else ""
            lines.append(f"  dropped, {reason} ({len(utts)}): {' '.join(utts[:shown])}{rest}")
        lines += [f"  mended, {kind}: {count}" for kind, count in sorted(self.mended.items())]
        return "\n".join(lines)


def fix(
    path: str | os.PathLike,
    *,
    text: bool = True,
    allow_pipes: bool = False,
    check_audio: bool = False,
    channels: str = "mono",
    min_seconds: float = 0.0,
) -> Repair:
    """Rewrite a directory sorted and clean, without the utterances that cannot be used.

    The old files are kept in `<path>/.backup`, with `dropped` listing utterances and reasons; an earlier
    backup moves to `.backup.1`, `.backup.2` …. Of several lines with one id the first stays. A directory
    without problems is left untouched.

    Args:
        min_seconds: also drop utterances that are shorter, as heard (by utt2dur, else segments, else the
            audio's header); 0 drops none.

    Raises:
        InputError: nothing usable would be left (the directory is untouched); `min_seconds` is negative, or
            a file whose header it needs cannot be read.
    """
    if not min_seconds >= 0:
        raise InputError(f"--min_seconds {min_seconds:g}: must not be negative")
    path = Path(path)
    scan = scan_data_dir(path, text=text, allow_pipes=allow_pipes)
    named = {utt for table in scan.tables for utt in scan.tables[table].lines if _is_utterance(table, scan)}
    data = _usable(DataDir.from_scan(scan), text)
    if check_audio:
        bad = _decode_all(scan, data, allow_pipes, None, channels)
        data = data.select(set(data.utt2spk) - bad)
    reasons = _reasons(scan)
    if min_seconds:
        lengths = durations(data, allow_pipes=allow_pipes)
        short = {utt for utt, seconds in lengths if seconds < min_seconds}
        reasons |= dict.fromkeys(short, f"shorter than {min_seconds:g} s")
        data = data.select(set(data.utt2spk) - short)
    dropped = {utt: reasons.get(utt, "unusable") for utt in sorted(named - set(data.utt2spk))}
    if not len(data):
        raise InputError(
            f"{path}: nothing usable is left of {len(dropped)} utterances "
            f"({Counter(dropped.values()).most_common(3)}); the directory is untouched"
        )
    mended = Counter(p.kind for p in scan.problems if p.item not in dropped)
    if scan.problems or dropped or not (path / "spk2utt").is_file():
        backup = path / BACKUP
        if backup.exists():
            earlier = (path / f"{BACKUP}.{number}" for number in itertools.count(1))
            backup.rename(next(free for free in earlier if not free.exists()))
        backup.mkdir()
        for name in FILES:
            if (path / name).is_file():
                shutil.copy2(path / name, backup / name)
        with atomic_write(backup / "dropped") as stream:
            stream.writelines(f"{utt} {reason}\n" for utt, reason in dropped.items())
        data.write(path)
    return Repair(len(data), dropped, mended)


def _is_utterance(table: str, scan: Scan) -> bool:
    """Whether a table's keys are utterances."""
    if table == "wav.scp":
        return "segments" not in scan.tables
    return table not in ("spk2utt", "spk2gender")


def _reasons(scan: Scan) -> dict[str, str]:
    """Utterance → first problem that concerns it, also one of its recording."""
    reasons: dict[str, str] = {}
    for problem in scan.problems:
        if problem.kind not in ("whitespace", "unsorted", "duplicate id"):
            reasons.setdefault(problem.item, problem.kind)
    for utt, recording in scan.recording_of.items():
        reasons.setdefault(utt, reasons.get(recording, "no audio"))
    return reasons
