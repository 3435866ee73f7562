"""Small pieces of HTML: escaped text, tables that the page's program can sort, folded parts."""

from collections.abc import Sequence
from html import escape

from espnet_sld.scoring.markdown import counted

Cell = str | tuple[str, float | str | None]  # HTML, or HTML and what the column is sorted by


def text(value: object) -> str:
    """Escaped for HTML."""
    return escape(str(value), quote=True)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    left: int = 1,
    caption: str = "",
    name: str = "",
) -> str:
    """A table whose columns can be sorted; the first `left` columns are text, the others numbers.

    A cell is HTML, or (HTML, what it is sorted by; None sorts last).
    """
    kinds = ["" if column < left else " class=number" for column in range(len(header))]
    heads = "".join(
        f"<th scope=col{kind}><button type=button>{text(title)}</button></th>"
        for kind, title in zip(kinds, header, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_cell(cell, column < left) for column, cell in enumerate(row))}</tr>" for row in rows
    )
    named = f' id="{text(name)}"' if name else ""
    titled = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f"<div class=scroll><table class=sortable{named}>{titled}<thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell, left: bool) -> str:
    kind = "" if left else " class=number"
    if isinstance(cell, tuple):
        shown, key = cell
        return f'<td{kind} data-sort="{"" if key is None else text(key)}">{shown}</td>'
    return f"<td{kind}>{cell}</td>"


def count(value: int | None) -> tuple[str, int | None]:
    """A cell with a number of things; a dash for what is not known."""
    return counted(value), value


def section(name: str, title: str, *parts: str) -> str:
    """A titled part of the page that the contents can point to."""
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{text(name)}"><h2>{text(title)}</h2>\n{inside}\n</section>'


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph of plain words."""
    return f"<p{f' class={kind}' if kind else ''}>{text(words)}</p>"


def folded(title: str, inside: str, *, opened: bool = False) -> str:
    """A part that opens on a click."""
    return f"<details{' open' if opened else ''}><summary>{text(title)}</summary>{inside}</details>"


def code(words: str) -> str:
    """A block of code."""
    return f"<pre><code>{text(words)}</code></pre>"


def size_words(size: int) -> str:
    """`512 kB`, `3.4 MB`."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
