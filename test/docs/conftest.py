"""The documents' code blocks, and a clean clone of this tree to run them in."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w./]+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, and the file that its first line names (None: none)."""

    kind: str
    text: str

    @property
    def file(self) -> str | None:
        found = NAMED.match(self.text)
        return found[1] if found else None


@pytest.fixture(scope="session")
def blocks(repo_root: Path) -> Callable[[str], list[Block]]:
    """Code blocks of a document of docs/, in order."""

    def read(name: str) -> list[Block]:
        text = (repo_root / "docs" / name).read_text(encoding="utf-8")
        return [Block(kind, content) for kind, content in BLOCK.findall(text)]

    return read


@dataclass(frozen=True)
class Clone:
    """A repository with this tree's files, to be cloned, and a shell that finds its environment."""

    repository: Path
    place: Path

    def shell(self, script: str, **more: str) -> str:
        """What a script prints that begins in an empty folder; it must succeed."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"REPOSITORY": str(self.repository), "ESPNET_SLD_VENV": sys.prefix, **more}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture
def clone(repo_root: Path, tmp_path: Path) -> Clone:
    """All files that git does not ignore, committed to a repository of their own."""
    if not (repo_root / ".git").exists():
        pytest.skip("this tree is no git checkout: which of its files belong to it is unknown")
    repository = tmp_path / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=repo_root, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = repo_root / name, repository / name
        if source.is_symlink() or source.is_file():  # a deleted file is listed too
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "snapshot"]):
        subprocess.run([*git, *command], cwd=repository, check=True)
    place = tmp_path / "place"
    place.mkdir()
    return Clone(repository, place)
