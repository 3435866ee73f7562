"""`make docs`: the site has every page, and what is missing or broken fails."""

import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def markdown(load_file, repo_root, tmp_path):
    """HTML of a text, and the problems that it has, as a document in `docs/` of a repository."""
    module = load_file(repo_root / "tools" / "markdown_html.py")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text("# Other\n\n## A heading, of `code`\n")
    (tmp_path / "LICENSE").write_text("")

    def render(text: str) -> tuple[str, list[str]]:
        problems: list[str] = []
        source = tmp_path / "docs" / "page.md"
        source.write_text(text, encoding="utf-8")
        return module.Markdown(source, tmp_path, problems).document(), problems

    return render


@pytest.mark.slow
def test_the_site_is_built_without_a_problem(repo_root, tmp_path):
    done = subprocess.run(
        [sys.executable, repo_root / "tools" / "make_site.py", "--out", tmp_path / "site"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.name for path in (tmp_path / "site").glob("*.html")}
    documents = {path.stem for path in (repo_root / "docs").glob("*.md")} - {"README"}
    assert {f"{name}.html" for name in documents} | {"index.html", "api.html", "commands.html"} <= pages
    criteria = (tmp_path / "site" / "api-criteria.html").read_text()
    assert "class SpeechTextCriterion(Criterion)" in criteria and "CE_speech" in criteria
    assert "python -m espnet_sld.bin.train" in (tmp_path / "site" / "commands.html").read_text()


def test_a_public_function_without_a_docstring_fails(repo_root, tmp_path):
    for name in ("docs", "tools"):
        shutil.copytree(repo_root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    room = tmp_path / "espnet_sld" / "room"
    room.mkdir(parents=True)
    (room.parent / "bin").mkdir()
    (room / "__init__.py").write_text('"""A room."""\n')
    (room / "one.py").write_text(
        '"""One."""\n\n\ndef told():\n    """Told."""\n\n\ndef silent():\n    pass\n'
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "tools" / "make_site.py"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "espnet_sld/room/one.py:8 silent: no docstring" in done.stdout
    assert "told" not in done.stdout


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("see [x](nowhere.md)", "which does not exist"),
        ("see [x](other.md#no-such)", "no such heading"),
        ("| a | b |\n|---|---|\n| 1 |\n", "rows differ"),
        ("```sh\nls\n", "without an end"),
    ],
)
def test_what_is_broken_is_named(markdown, text, problem):
    _, problems = markdown(text)
    assert len(problems) == 1 and problem in problems[0]


def test_markdown_becomes_html(markdown):
    html, problems = markdown(
        "# Title\n\nA *word* and **two** of `a_*b*` in\none [link](other.md#a-heading-of-code), "
        "[licence](../LICENSE).\n\n- one\n  goes on\n- two < three\n\n1. first\n\n| h | i |\n|---|---|\n"
        "| 1 | 2 |\n\n```sh\na < b\n```\n"
    )
    assert problems == []
    assert '<h1 id="title">Title</h1>' in html
    assert "<em>word</em> and <strong>two</strong> of <code>a_*b*</code> in one" in html
    assert '<a href="other.html#a-heading-of-code">link</a>, licence (<code>LICENSE</code>)' in html
    assert "<ul><li>one goes on</li><li>two &lt; three</li></ul>" in html
    assert "<ol><li>first</li></ol>" in html
    assert "<tr><th>h</th><th>i</th></tr><tr><td>1</td><td>2</td></tr>" in html
    assert "<pre><code>a &lt; b</code></pre>" in html
