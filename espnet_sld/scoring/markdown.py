"""Markdown tables whose columns also line up in a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_sld.files import atomic_write, write_json


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """A table with the first `left` columns aligned left, the others right (numbers)."""
    cells = [[str(value).replace("|", "\\|") for value in row] for row in [header, *rows]]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = (
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(f"| {' | '.join(padded)} |")
    rule = ("-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths))
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def number(value: float | None, digits: int = 2) -> str:
    """`3.14159` → `3.14`; a dash for what is not known."""
    return "–" if value is None else f"{value:.{digits}f}"


def counted(value: int | None) -> str:
    """`1234567` → `1 234 567`; a dash for what is not known."""
    return "–" if value is None else f"{value:,}".replace(",", " ")


def write_with_json(path: Path, text: str, values: Mapping[str, Any]) -> None:
    """Write a page, and beside it, with suffix .json, the values that it shows."""
    with atomic_write(path) as stream:
        stream.write(text)
    write_json(path.with_suffix(".json"), values, allow_nan=False)
