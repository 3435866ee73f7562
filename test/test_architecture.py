"""The house keeps its order: who may import whom, and what is not loaded without need."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

# A room may import the rooms named here, and the top-level modules (errors, files, progress, stamps, cli).
ALLOWED = {
    "jobs": set(),
    "corpus": set(),
    "criteria": set(),
    "scoring": set(),
    "units": {"corpus"},
    "images": {"corpus", "units"},
    "vocoder": {"corpus", "units"},
    "tokens": {"units"},
    "models": {"tokens"},
    "tasks": {"corpus", "criteria", "models", "tokens"},
    "inference": {"corpus", "models", "tokens", "units"},
}
ROOMS = {*ALLOWED, "bin"}
# ESPnet's encoders are built there; only CTC models need them, so the import is inside a function.
LAZILY = {("inference", "espnet_sld.tasks.encoders")}
OUTSIDE = {  # heavy packages and the rooms that own them
    "espnet2": {"tasks"},
    "torch": {"criteria", "units", "images", "vocoder", "models", "tasks", "inference"},
    "transformers": {"units", "tokens", "models", "tasks", "inference"},
    "jiwer": {"scoring"},
    "sentencepiece": {"tokens"},
}


def imports(path: Path, at_import: bool = False) -> set[str]:
    """Modules that a file imports; `at_import`: when it is itself imported."""
    found, tree = set(), ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_the_floors_below_it(room, repo_root):
    wrong = []
    for path in (repo_root / "espnet_sld" / room).rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if (room, name) in LAZILY and name not in imports(path, at_import=True):
                continue
            if parts[0] == "espnet_sld" and len(parts) > 1 and parts[1] in ROOMS - {room} - ALLOWED[room]:
                wrong.append(f"{path.relative_to(repo_root)}: {name}")
    assert wrong == []


@pytest.mark.parametrize("package", sorted(OUTSIDE))
def test_heavy_packages_stay_in_their_rooms(package, repo_root):
    users = set()
    for room in ROOMS:
        for path in (repo_root / "espnet_sld" / room).rglob("*.py"):
            if any(name.split(".")[0] == package for name in imports(path)):
                users.add(room)
    assert users <= OUTSIDE[package] | {"bin"}


def test_no_file_outgrows_its_purpose(repo_root):
    files = [*(repo_root / "espnet_sld").rglob("*.py"), *(repo_root / "egs").glob("*/*.sh")]
    assert [f"{path}: {n}" for path in files if (n := len(path.read_text().splitlines())) > 320] == []


@pytest.mark.parametrize("module", ["espnet_sld", "espnet_sld.bin.score", "espnet_sld.bin.extract_units"])
def test_light_commands_load_nothing_heavy(module):
    code = (
        f"import sys, {module}; print([m for m in ('torch', 'espnet2', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_documents_point_to_files_that_exist(name, repo_root):
    text = (repo_root / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (repo_root / link).exists()] == []
    assert re.findall(r"@[A-Z]+@|TODO|FIXME", text) == []


def test_the_readmes_map_names_every_room(repo_root):
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    rooms = {path.name for path in (repo_root / "espnet_sld").iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if f"| `{room}/` |" not in text} == set()
