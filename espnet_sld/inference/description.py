"""What `bin.inspect` says of a path: a name, facts with counts, an example line, a command that goes on."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from espnet_sld.errors import InputError

WIDTH = 100  # characters of an example that are shown
SNIFFED = 1 << 16  # bytes of a file that are looked at to guess what it is


@dataclass(frozen=True)
class Description:
    """A thing in words.

    Attributes:
        what: one phrase. facts: (name, value) pairs in the order of reading.
        example: a line of it, "" where it has none.
        hint: a command that does something with it, "" for none.
    """

    what: str
    facts: Sequence[tuple[str, str]] = ()
    example: str = ""
    hint: str = ""

    def lines(self, path: Path) -> Iterator[str]:
        """What is printed: a heading, then one indented line for each fact."""
        yield f"{path}: {self.what}"
        rows = [*self.facts]
        if self.example:
            rows.append(("example", shorten(self.example)))
        if self.hint:
            rows.append(("next", self.hint))
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            yield f"  {name.ljust(width)}  {value}"


class Kind(NamedTuple):
    """A kind of thing: a name for lists, a cheap test of a path, and what describes it."""

    name: str
    matches: Callable[[Path], bool]
    describe: Callable[[Path], Description]


def describe(path: Path, kinds: Sequence[Kind]) -> Description:
    """The description by the first kind that the path matches.

    Raises:
        InputError: there is no such path, or it is nothing of what is known; names what could be inspected.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or directory; name one that exists")
    for kind in kinds:
        if kind.matches(path):
            return kind.describe(path)
    known = ", ".join(kind.name for kind in kinds)
    inside = (
        [child.name for child in sorted(path.iterdir()) if kind_of(child, kinds)] if path.is_dir() else []
    )
    more = f"; in it these can be inspected: {', '.join(inside[:8])}" if inside else ""
    raise InputError(f"{path}: none of what is known here ({known}){more}")


def kind_of(path: Path, kinds: Sequence[Kind]) -> str | None:
    """The name of the kind that a path has; None if it has none."""
    return next((kind.name for kind in kinds if kind.matches(path)), None)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a file; InputError if it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: missing or damaged ({error}); make it again") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: damaged (not a JSON object); make it again")
    return values


def pairs(conf: Mapping[str, Any]) -> str:
    """`key=value` pairs in one line."""
    return " ".join(f"{key}={value}" for key, value in conf.items())


def shorten(line: str) -> str:
    """At most `WIDTH` characters, with … for what was left out."""
    line = line.rstrip("\n")
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def first_line(path: Path) -> str:
    """The first line of a text file, without its end; "" for a binary, an empty or a missing one."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        head = stream.readline(SNIFFED)
    try:
        return "" if b"\0" in head else head.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError:
        return ""


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a text file without their ends.

    Raises:
        InputError: the file is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None


def number(value: float) -> str:
    """12345 → 12 345; fractions with two digits."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.2f}"


def size(count: int) -> str:
    """Bytes in a unit that people read."""
    amount, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
