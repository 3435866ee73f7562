"""docs/*.md and the package's docstrings as static HTML, with the standard library alone: `make docs`.

Fails, and says where, on a module, public class or public function without a docstring, on a link to a file
or heading that does not exist, and on a broken table or code block. Sources are parsed, not imported; only
`bin/` modules are, for their `--help`.
"""

import argparse
import ast
import contextlib
import html
import importlib
import io
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT)]

from markdown_html import Markdown, page_name  # noqa: E402

PAGES = ("README", "concepts", "tutorial", "extending", "equations", "troubleshooting", "faq")


def api(room: Path, problems: list[str]) -> str:
    """Modules, classes and functions of a room, by their docstrings."""
    parts = []
    for path in sorted(room.rglob("*.py")) if room.is_dir() else [room]:
        tree, where = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT)
        module = ".".join(where.with_suffix("").parts).removesuffix(".__init__")
        parts.append(f'<h2 id="{module}">{module}</h2>{prose(tree, str(where), problems)}')
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                parts.append(f"<dl>{entry(node, f'{where}:{node.lineno}', problems)}</dl>")
    return "\n".join(parts)


def entry(node: ast.ClassDef | ast.FunctionDef, where: str, problems: list[str]) -> str:
    """A class with its documented methods, or a function."""
    if isinstance(node, ast.FunctionDef):
        returns = f" → {ast.unparse(node.returns)}" if node.returns else ""
        title = f"{node.name}({ast.unparse(node.args)}){returns}"
        text = prose(node, f"{where} {node.name}", problems)
        return f"<dt><code>{html.escape(title)}</code></dt><dd>{text}</dd>"
    bases = ", ".join(map(ast.unparse, node.bases))
    methods = [
        entry(child, where, problems)
        for child in node.body
        if isinstance(child, ast.FunctionDef) and child.name[0] != "_" and ast.get_docstring(child)
    ]
    title = f"class {node.name}{f'({bases})' if bases else ''}"
    more = f"<dl>{''.join(methods)}</dl>" if methods else ""
    text = prose(node, f"{where} {node.name}", problems)
    return f"<dt><code>{html.escape(title)}</code></dt><dd>{text}{more}</dd>"


def prose(node: ast.AST, where: str, problems: list[str]) -> str:
    """A docstring; its absence is a problem."""
    if not (text := ast.get_docstring(node)):
        problems.append(f"{where}: no docstring")
    return f"<pre>{html.escape(text or '')}</pre>"


def commands(problems: list[str]) -> str:
    """Every command's help."""
    os.environ["COLUMNS"] = "100"
    parts = []
    for path in sorted((ROOT / "espnet_sld" / "bin").glob("[a-z]*.py")):
        module, text = importlib.import_module(f"espnet_sld.bin.{path.stem}"), io.StringIO()
        sys.argv[0] = path.name
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            module.main(["--help"])
        if not text.getvalue():
            problems.append(f"{path}: prints no help")
        parts.append(f'<h2 id="{path.stem}">{path.stem}</h2><pre>{html.escape(text.getvalue())}</pre>')
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Write the site; the number of problems decides the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "site", help="a folder that may be replaced"
    )
    out, problems = parser.parse_args(argv).out, []
    package = ROOT / "espnet_sld"
    rooms = [path.parent for path in sorted(package.glob("*/__init__.py")) if path.parent.name != "bin"]
    documents = sorted((ROOT / "docs").glob("*.md"), key=lambda path: (
        PAGES.index(path.stem) if path.stem in PAGES else len(PAGES), path.stem))  # fmt: skip
    bodies = {page_name(path): Markdown(path, ROOT, problems).document() for path in documents}
    names = {page_name(path): "index" if path.stem == "README" else path.stem for path in documents}
    bodies["commands.html"] = f"<h1>Commands</h1>{commands(problems)}"
    style = (ROOT / "docs" / "site.css").read_text(encoding="utf-8")
    top = "".join(api(path, problems) for path in sorted(package.glob("*.py")))
    links = "".join(f'<p><a href="api-{room.name}.html">{room.name}</a></p>' for room in rooms)
    bodies["api.html"] = f"<h1>API</h1>{links}{top}"
    for room in rooms:
        bodies[f"api-{room.name}.html"] = f"<h1>{room.name}</h1>{api(room, problems)}"
    names |= {"commands.html": "commands", "api.html": "api"}
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for image in (ROOT / "docs").glob("*.svg"):
        shutil.copy(image, out)
    nav = " ".join(f'<a href="{name}">{title}</a>' for name, title in names.items())
    for name, body in bodies.items():
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>espnet_sld: {name}</title>'
        page += f'<meta name="viewport" content="width=device-width"><style>{style}</style><nav>{nav}</nav>'
        page += f"<main>{body}</main></html>"
        for target in re.findall(r'(?:href|src)="([^"#:]+)["#]', page):
            if target not in bodies and not (out / target).exists():
                problems.append(f"{name}: links to {target}, which the site lacks")
        (out / name).write_text(page, encoding="utf-8")
    print("\n".join([*problems, f"{out}: {len(bodies)} pages, {len(problems)} problems"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
