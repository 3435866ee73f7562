"""The Markdown that docs/ uses, as HTML; with the standard library alone."""

import html
import os
import re
from pathlib import Path


def slug(text: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).lower())
    return plain.strip().replace(" ", "-")


class Markdown:
    """Headings, lists, tables, code, links, images and emphasis of one document.

    Args:
        source: the document. root: of the repository.
        problems: what is wrong is appended: links without an end, tables and code blocks that do not close.
    """

    def __init__(self, source: Path, root: Path, problems: list[str]):
        self.source, self.root, self.problems = source, root, problems

    def document(self) -> str:
        """The whole document."""
        return self.render(self.source.read_text(encoding="utf-8"))

    def inline(self, text: str) -> str:
        """One line's code, links and emphasis."""
        kept: list[str] = []

        def keep(content: str) -> str:
            kept.append(content)
            return f"\0{len(kept) - 1}\0"

        text = re.sub(r"`([^`]+)`", lambda m: keep(f"<code>{html.escape(m[1])}</code>"), text)
        text = html.escape(text, quote=False)
        image = r'<img src="\2" alt="\1">'
        text = re.sub(r"!\[([^]]*)\]\(([^)]+)\)", lambda m: keep(m.expand(image)), text)
        text = re.sub(r"\[([^]]+)\]\(([^)]+)\)", lambda m: self.link(m[1], m[2]), text)
        text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
        text = re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*", r"<em>\1</em>", text)
        while "\0" in text:
            text = re.sub("\0(\\d+)\0", lambda m: kept[int(m[1])], text)
        return text

    def link(self, text: str, target: str) -> str:
        """A link to a page of the site, or outside; a file of the repository is only named."""
        if re.match(r"https?:", target):
            return f'<a href="{target}">{text}</a>'
        file, _, anchor = target.partition("#")
        path = (self.source.parent / file).resolve() if file else self.source
        if not path.exists():
            self.problems.append(f"{self.source}: links to {target}, which does not exist")
        elif path.suffix == ".md" and anchor and anchor not in anchors(path):
            self.problems.append(f"{self.source}: links to {target}, but there is no such heading")
        if path.parent != self.root / "docs" or path.suffix != ".md":
            return f"{text} (<code>{os.path.relpath(path, self.root)}</code>)"
        return f'<a href="{page_name(path)}{"#" + anchor if anchor else ""}">{text}</a>'

    def render(self, text: str) -> str:
        """HTML of Markdown text."""
        out, lines, index = [], text.splitlines(), 0
        while index < len(lines):
            line = lines[index]
            if fence := re.match(r"(`{3,})(\w*)$", line):
                end = index + 1
                while end < len(lines) and lines[end] != fence[1]:
                    end += 1
                if end == len(lines):
                    self.problems.append(f"{self.source}:{index + 1}: code block without an end")
                out.append(f"<pre><code>{html.escape(chr(10).join(lines[index + 1 : end]))}</code></pre>")
                index = end + 1
            elif head := re.match(r"(#{1,4}) (.*)$", line):
                level = len(head[1])
                out.append(f'<h{level} id="{slug(head[2])}">{self.inline(head[2])}</h{level}>')
                index += 1
            elif line.startswith("|"):
                end = index
                while end < len(lines) and lines[end].startswith("|"):
                    end += 1
                out.append(self.table(lines[index:end]))
                index = end
            elif re.match(r"(- |\d+\. )", line):
                end = index
                while end < len(lines) and re.match(r"(- |\d+\. |  )", lines[end]):
                    end += 1
                out.append(self.items(lines[index:end]))
                index = end
            elif line.strip():
                end = index
                while end < len(lines) and lines[end].strip() and not re.match(r"```|#|\||- ", lines[end]):
                    end += 1
                out.append(f"<p>{self.inline(' '.join(lines[index:end]))}</p>")
                index = max(end, index + 1)
            else:
                index += 1
        return "\n".join(out)

    def table(self, lines: list[str]) -> str:
        """Lines that begin with `|`."""
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]
        if len({len(row) for row in rows}) != 1:
            self.problems.append(f"{self.source}: a table's rows differ in their cells: {lines[0]}")
        rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
        kinds = ["th", *["td"] * (len(rows) - 1)]
        body = (
            "".join(f"<{k}>{self.inline(c)}</{k}>" for c in row) for k, row in zip(kinds, rows, strict=True)
        )
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"

    def items(self, lines: list[str]) -> str:
        """Lines of one list, numbered or not, with what is indented below its entries."""
        kind = "ul" if lines[0].startswith("- ") else "ol"
        entries = re.split(r"^(?:- |\d+\. )", "\n".join(lines), flags=re.MULTILINE)[1:]
        text = (self.inline(" ".join(entry.split())) for entry in entries)
        return f"<{kind}>{''.join(f'<li>{entry}</li>' for entry in text)}</{kind}>"


def anchors(path: Path) -> set[str]:
    """The headings' anchors of a document."""
    return {
        slug(head) for head in re.findall(r"^#{1,4} (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def page_name(path: Path) -> str:
    """The HTML file of a document."""
    return "index.html" if path.stem == "README" else f"{path.stem}.html"
