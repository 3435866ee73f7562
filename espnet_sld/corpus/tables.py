"""Lenient reading of one Kaldi table: keeps what is well formed and notes everything that is not."""

from dataclasses import dataclass, field
from pathlib import Path

BLANKS = b" \t\r\x0b\x0c"
# Characters that a person cannot see but a tokenizer can.
INVISIBLE = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u200b", "\ufeff", "\u2028", "\u2029"}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a data directory.

    `kind` groups problems in messages, `place` is `file:line` or a file, `item` the utterance, recording
    or speaker that it is about ("" if none).
    """

    kind: str
    place: str
    item: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.place}:", self.item, self.detail) if part)


@dataclass
class Table:
    """Well-formed rows `key → value` of one file, and the line of every key, well formed or not."""

    path: Path
    rows: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """`file:line` of a key."""
        return f"{self.path}:{self.lines[key]}"


def scan_table(path: Path, problems: list[Problem], *, text: bool = False) -> Table:
    """Read `key value` lines, appending to `problems` what is wrong with them.

    Kept: the first line of each key that has a value, its blanks cleaned (for `text`, runs of blanks
    inside the value too: a transcript is words separated by one space; a path may hold blanks).
    Sorting is checked in C order (bytes), as `LC_ALL=C sort` gives.
    """
    table = Table(path)
    previous, sorted_so_far = b"", True
    content = path.read_bytes()
    if content.startswith(b"\xef\xbb\xbf"):
        problems.append(Problem("whitespace", f"{path}:1", "", "begins with a byte-order mark"))
        content = content[3:]
    if content and not content.endswith(b"\n"):
        problems.append(Problem("line ends", str(path), "", "the last line has no line end: cut short?"))
    for number, raw in enumerate(content.removesuffix(b"\n").split(b"\n") if content else [], 1):
        place = f"{path}:{number}"
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.append(Problem("not UTF-8", place, "", f"{error.reason} at byte {error.start}"))
            continue
        fields = line.split(maxsplit=1)
        if not fields:
            problems.append(Problem("empty line", place))
            continue
        key, value = fields[0], fields[1].strip() if len(fields) == 2 else ""
        clean = " ".join(value.split()) if text else value
        if raw != f"{key} {clean}".encode() and (value or raw.strip(BLANKS) != key.encode()):
            problems.append(Problem("whitespace", place, key, "blanks other than single spaces"))
        if text:
            hidden = sorted({f"U+{ord(letter):04X}" for letter in clean if letter in INVISIBLE})
            if hidden:
                problems.append(Problem("whitespace", place, key, f"invisible {', '.join(hidden)}"))
                clean = " ".join("".join(c if c not in INVISIBLE else " " for c in clean).split())
        if key in table.rows:
            problems.append(Problem("duplicate id", place, key, f"first on line {table.lines[key]}"))
            continue
        table.lines.setdefault(key, number)
        if not clean:
            problems.append(Problem("empty transcript" if text else "no value", place, key))
            continue
        if sorted_so_far and key.encode() < previous:
            sorted_so_far = False
            problems.append(Problem("unsorted", place, key, f"comes after {previous.decode()}"))
        previous = key.encode()
        table.rows[key] = clean
    return table
