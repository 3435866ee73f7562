"""What a finished recipe folder holds, and whether another one holds the same."""

from __future__ import annotations

import fnmatch
import hashlib
from pathlib import Path

FOLDERS = ("data", "dump", "exp")
TEMPORARY = (".*.tmp", "*.tmp")
# These hold times, hosts, paths of the folder, or how often the run was broken off: that they are there is
# compared, what is in them is not. What matters of the training's state is in the models of its epochs.
VARYING = (
    *("*.done.json", "train.begun.json", "run.sh", "decode.json", "result.json", "RESULTS.md", "km_*.json"),
    *("pack.json", "manifest.json", "README.md", "checkpoint.pth"),
)
# That there is an older state beside the newest depends on when states were saved.
OPTIONAL = ("checkpoint.prev.pth", "events.out.tfevents.*")
LOGS = ("log", "tensorboard")


def snapshot(folder: Path) -> dict[str, str]:
    """Path → digest of every output that stands at its final name ("" for those that vary, → for links)."""
    found = {}
    for top in FOLDERS:
        for path in sorted((folder / top).rglob("*")):
            name = path.name
            if path.is_dir() or set(path.relative_to(folder).parts[:-1]) & set(LOGS):
                continue
            if matches(name, (*TEMPORARY, *OPTIONAL, "train.log", "train.json")):
                continue
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = f"→ {path.readlink()}"
            else:
                found[key] = "" if matches(name, VARYING) else digest(path)
    return found


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is one of the patterns'."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def digest(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def stamps(folder: Path) -> dict[str, str]:
    """Stamp → digest, of everything that is recorded as finished; who does it again writes another one."""
    return {
        str(path.relative_to(folder)): digest(path)
        for top in FOLDERS
        for path in (folder / top).rglob("*.done.json")
    }


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """What one folder lacks, has too much, or has otherwise than the other."""
    lines = [f"{name} is gone" for name in sorted(expected.keys() - found.keys())]
    lines += [f"{name} is too much" for name in sorted(found.keys() - expected.keys())]
    lines += [f"{name} differs" for name in sorted(found.keys() & expected) if found[name] != expected[name]]
    return lines


def temporaries(folder: Path) -> list[str]:
    """What killed writers left beside the outputs."""
    return sorted(
        str(path.relative_to(folder))
        for top in FOLDERS
        for path in (folder / top).rglob("*")
        if path.is_file() and matches(path.name, TEMPORARY)
    )
