"""What a stage of a recipe made, in one line: what, how many, where, and whether it is new.

A driver names the files that its stage writes last (`makes` in egs/TEMPLATE/common.sh), asks for their
`state` before the work, and for the `summary` after it. Counts are read from them and what lies beside.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_sld.scoring.markdown import counted
from espnet_sld.scoring.stage_counts import Kind, kind_of

NAMED = 6  # so many files have their own figure in the line; of more, only what can be added up


def state(paths: Sequence[str]) -> str:
    """A line for every file that is there, which changes when the file is written anew."""
    return "\n".join(line for path in expand(paths) if (line := _state(path)))


def summary(paths: Sequence[str], before: str = "") -> str:
    """What is there now, in the order of the paths.

    Args:
        paths: files that were to be written; a `*` stands for any names.
        before: their `state` when the stage began.

    Raises:
        InputError: a file is damaged.
    """
    then = set(before.splitlines())
    groups: dict[Kind, list[Path]] = {}
    new, absent = set(), []
    for path in expand(paths):
        now = _state(path)
        if now is None:
            absent.append(str(path))
            continue
        groups.setdefault(kind_of(path), []).append(path)
        if now not in then:
            new.add(path)
    parts = []
    for kind, files in groups.items():
        parts.append(_words(kind, files))
        fresh = len(new.intersection(files))
        if new and fresh < len(files):
            parts[-1] += f", {fresh} of them new" if fresh else ", there before"
    if absent:
        parts.append(f"not there: {', '.join(absent)}")
    told = "; ".join(parts)
    if new or absent:
        return told
    return f"nothing to do, all is there: {told}" if told else "nothing to do"


def duration(seconds: float) -> str:
    """`4330` → `1 h 12 min`; `75` → `1 min 15 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def expand(paths: Sequence[str]) -> Iterator[Path]:
    """The paths, each once; one with a `*` becomes the files that are there.

    Where a mixture.yaml lies beside the folder of the first `*`, only those of its data sets: names may have
    changed since.
    """
    seen: set[Path] = set()
    for name in paths:
        path = Path(name)
        star = next((i for i, part in enumerate(path.parts) if "*" in part), None)
        found = [path]
        if star is not None:
            root = Path(*path.parts[:star])
            found = _of_mixture(sorted(root.glob("/".join(path.parts[star:]))), root.parent / "mixture.yaml")
        for file in found:
            if file not in seen:
                seen.add(file)
                yield file


def _of_mixture(files: list[Path], mixture: Path) -> list[Path]:
    if not mixture.is_file():
        return files
    names = re.findall(r"\bname:\s*[\"']?([^\"',}\s]+)", mixture.read_text(encoding="utf-8"))
    # an unlabelled set `x` is measured in parts: x_speech, x_text
    return [path for path in files if any(f"{path.parent.name}_".startswith(f"{name}_") for name in names)]


def _state(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:  # a network file system is asked anew when a file is opened
            now = os.fstat(stream.fileno())
    except OSError:
        return None
    return f"{now.st_ino} {now.st_mtime_ns} {now.st_size} {path}"


def _words(kind: Kind, files: list[Path]) -> str:
    """All files of a kind: their number, what they count together, their own figures, their folder."""
    where = Path(os.path.commonpath([path.parent for path in files]))
    sums: Counter[str] = Counter()
    own = []
    for path in files:
        counts = kind.count(path)
        sums.update(counts.sums)
        if counts.own:
            inner = path.parent.relative_to(where).as_posix()
            set_name = f"{path.parent.name if inner == '.' else inner} "
            own.append((set_name if kind.named else "") + counts.own)
    figures = [_amount(what, number) for what, number in sums.items()]
    if 0 < len(own) <= NAMED:
        figures.append(f"{', '.join(own)} {kind.unit}".rstrip())
    text = (kind.one if len(files) == 1 else kind.many).format(counted(len(files)))
    return f"{text}{' (' + ', '.join(figures) + ')' if figures else ''} in {where}"


def _amount(what: str, number: float) -> str:
    if what == "seconds":
        return f"{duration(number)} of speech"
    if what == "bytes":
        return f"{number / 2**20:.1f} MiB"
    return f"{counted(int(number))} {what.removesuffix('s') if number == 1 else what}"
