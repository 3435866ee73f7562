"""Everything that can be wrong with a Kaldi data directory, found in one pass and told in one message."""

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.corpus.tables import Problem, Table, scan_table
from espnet_sld.errors import InputError

OPTIONAL = ("segments", "spk2utt", "spk2gender", "utt2speed", "utt2dur")
BACKUP = ".backup"
SHOWN_PER_KIND = 10
ARK = re.compile(r"^(?P<path>.+):(?P<offset>\d+)$")
UNTIL_END = -1.0


@dataclass
class Scan:
    """Tables found in a directory, what is wrong with them, and what is only odd.

    `recording_of` has the utterances that fall because their recording does.
    """

    path: Path
    tables: dict[str, Table]
    problems: list[Problem]
    warnings: list[str] = field(default_factory=list)
    recording_of: dict[str, str] = field(default_factory=dict)

    def rows(self, name: str) -> dict[str, str]:
        """Rows of a table; empty where the file is missing."""
        return self.tables[name].rows if name in self.tables else {}


def is_pipe(source: str) -> bool:
    """Whether an entry of wav.scp is a command (`cmd |`) rather than a file."""
    return source.rstrip().endswith("|") or source.lstrip().startswith("|")


def file_of(source: str) -> Path:
    """The file behind an entry of wav.scp: `a.wav`, or `a.ark` of `a.ark:123`."""
    match = ARK.match(source)
    return Path(match["path"] if match and not os.path.exists(source) else source)


def parse_segment(value: str) -> tuple[str, float, float]:
    """`rec 0.5 2.25` → (recording, start, end) in seconds; end −1 means until the recording's end.

    Raises:
        ValueError: not three fields, not numbers, or not 0 ≤ start < end.
    """
    fields = value.split()
    if len(fields) != 3:
        raise ValueError("expected 'utterance recording start end'")
    start, end = float(fields[1]), float(fields[2])
    if not math.isfinite(start) or not math.isfinite(end) or start < 0:
        raise ValueError(f"times {fields[1]} {fields[2]}")
    if end != UNTIL_END and end <= start:
        raise ValueError(f"ends ({fields[2]}) before it starts ({fields[1]})")
    return fields[0], start, end


def positive(value: str) -> float:
    """A positive finite number.

    Raises:
        ValueError: it is not one.
    """
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{value} is not a positive number")
    return number


def gender(value: str) -> str:
    """`m` or `f`, as Kaldi writes it.

    Raises:
        ValueError: it is neither.
    """
    if value not in ("m", "f"):
        raise ValueError(f"{value} is neither m nor f")
    return value


PARSERS = {"segments": parse_segment, "utt2speed": positive, "utt2dur": positive, "spk2gender": gender}


def scan_data_dir(
    path: str | os.PathLike, *, text: bool = True, allow_pipes: bool = False, check_files: bool = True
) -> Scan:
    """Read a directory leniently and collect every problem.

    Args:
        path: the data directory.
        text: whether every utterance needs a transcript; if not, those that there are are checked still.
        allow_pipes: whether commands are welcome in wav.scp.
        check_files: whether to look for every audio file on disk.

    Raises:
        InputError: the directory itself or a required file is missing.
    """
    path = Path(path)
    required = ("wav.scp", "utt2spk", *(("text",) if text else ()))
    if not path.is_dir():
        raise InputError(f"{path}: no such data directory; run the stage that writes it first")
    missing = [name for name in required if not (path / name).is_file()]
    if missing and (path / BACKUP / "utt2spk").is_file():
        raise InputError(
            f"{path}: lacks {', '.join(missing)}; was utils/fix_data_dir broken off? "
            f"The files before it are in {path / BACKUP}: copy them back and run it again"
        )
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}; a data directory needs {', '.join(required)}")
    problems: list[Problem] = []
    names = [*required, *(name for name in ("text", *OPTIONAL) if name not in required)]
    tables = {
        name: scan_table(path / name, problems, text=name == "text")
        for name in names
        if (path / name).is_file()
    }
    if not text:
        problems[:] = [problem for problem in problems if problem.kind != "empty transcript"]
    scan = Scan(path, tables, problems)
    _parse_values(scan)
    _check_audio_entries(scan, allow_pipes, check_files)
    _check_utterances(scan, text)
    _check_speakers(scan)
    return scan


def _parse_values(scan: Scan) -> None:
    """Drop rows whose value is malformed."""
    for name, parse in PARSERS.items():
        for key, value in list(scan.rows(name).items()):
            try:
                parse(value)
            except ValueError as error:
                scan.problems.append(
                    Problem(f"bad {name} line", scan.tables[name].place(key), key, str(error))
                )
                del scan.tables[name].rows[key]


def _check_audio_entries(scan: Scan, allow_pipes: bool, check_files: bool) -> None:
    table = scan.tables["wav.scp"]
    sizes: dict[Path, int | None] = {}
    for key, source in list(table.rows.items()):
        problem = None
        if is_pipe(source):
            if not allow_pipes:
                problem = Problem(
                    "piped command", table.place(key), key, "is run only with --allow_pipes true"
                )
        elif check_files:
            file = file_of(source)
            if file not in sizes:
                sizes[file] = file.stat().st_size if file.is_file() else None
            if sizes[file] is None:
                problem = Problem("missing file", table.place(key), key, f"no such file: {file}")
            elif sizes[file] == 0:
                problem = Problem("empty file", table.place(key), key, f"0 bytes: {file}")
        if problem:
            scan.problems.append(problem)
            del table.rows[key]


def _check_utterances(scan: Scan, text: bool) -> None:
    """Do all tables speak of the same utterances?"""
    source = "segments" if "segments" in scan.tables else "wav.scp"
    table, recordings = scan.tables[source], scan.tables["wav.scp"]
    if source == "segments":
        for key, value in list(table.rows.items()):
            recording = value.split()[0]
            if recording in recordings.rows:
                continue
            del table.rows[key]
            if recording in recordings.lines:
                scan.recording_of[key] = recording  # reported already, at the recording
            else:
                scan.problems.append(
                    Problem("no audio", table.place(key), key, f"recording {recording} is not in wav.scp")
                )
    if not table.rows:
        scan.problems.append(Problem("no audio", str(table.path), "", "no usable utterance is left"))
    # A row dropped for its own problem was reported already: compare with every key that the file named.
    for name, missing in (("text", "no transcript"), ("utt2spk", "no speaker")):
        if name not in scan.tables:
            continue
        other = scan.tables[name]
        for key in table.rows:
            if key not in other.lines and (text or name != "text"):
                scan.problems.append(Problem(missing, table.place(key), key, f"is not in {other.path}"))
        for key in other.rows:
            if key not in table.lines:
                scan.problems.append(Problem("no audio", other.place(key), key, f"is not in {table.path}"))
    for name in ("utt2speed", "utt2dur"):
        if name in scan.tables:
            other = scan.tables[name]
            for key in table.rows:
                if key not in other.lines:
                    scan.problems.append(Problem(f"no {name}", table.place(key), key, f"not in {other.path}"))


def _check_speakers(scan: Scan) -> None:
    utt2spk = scan.tables["utt2spk"]
    spk2utt: dict[str, list[str]] = {}
    odd = 0
    for key, speaker in list(utt2spk.rows.items()):
        if len(speaker.split()) != 1:
            scan.problems.append(Problem("bad utt2spk line", utt2spk.place(key), key, f"speaker '{speaker}'"))
            del utt2spk.rows[key]
            continue
        spk2utt.setdefault(speaker, []).append(key)
        odd += not key.startswith(speaker)
    if odd:
        scan.warnings.append(
            f"{utt2spk.path}: {odd} utterance ids do not begin with their speaker's id; "
            "Kaldi tools that sort by speaker will not agree with those that sort by utterance"
        )
    if "spk2utt" in scan.tables:
        stored = {speaker: value.split() for speaker, value in scan.rows("spk2utt").items()}
        if {s: sorted(u) for s, u in stored.items()} != {s: sorted(u) for s, u in spk2utt.items()}:
            scan.problems.append(
                Problem("speakers disagree", str(scan.path / "spk2utt"), "", "is not utt2spk turned round")
            )
    # Nothing is computed from genders: speakers too many or too few are odd, not wrong.
    if "spk2gender" in scan.tables and (differ := set(spk2utt) ^ set(scan.rows("spk2gender"))):
        scan.warnings.append(
            f"{scan.path / 'spk2gender'}: {len(differ)} speakers are only there or only in utt2spk "
            f"({', '.join(sorted(differ)[:3])} …)"
        )


def raise_if_any(scan: Scan) -> None:
    """Tell all problems of a scan as one `InputError`; nothing if there are none."""
    if scan.problems:
        raise InputError(message(scan.path, scan.problems))


def message(path: Path, problems: Iterable[Problem]) -> str:
    """All problems, grouped by kind, at most ten of a kind in full, and the remedy."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    lines = [f"{path}: {sum(map(len, kinds.values()))} problems in this data directory"]
    for kind, group in kinds.items():
        lines.append(f"  {kind} ({len(group)}):")
        lines += [f"    {problem}" for problem in group[:SHOWN_PER_KIND]]
        if len(group) > SHOWN_PER_KIND:
            lines.append(f"    … and {len(group) - SHOWN_PER_KIND} more")
    lines.append(f"  remedy: mend the lines above, or let `utils/fix_data_dir {path}` sort the files and")
    lines.append("  drop what cannot be used (it lists what it drops and keeps the old files in .backup)")
    if "missing file" in kinds:
        lines.append(f"  relative paths are relative to the current directory, {Path.cwd()}")
    return "\n".join(lines)
