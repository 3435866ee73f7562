"""Processes by /proc: which live, whose children they are, which guard a cluster's jobs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def step_daemons(folder: Path) -> list[int]:
    """The slurmstepds of the cluster in `folder`: each guards the processes of one job step."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if not entry.read_text().startswith("slurmstepd"):
                continue
            links = [os.readlink(link) for link in (entry.parent / "fd").iterdir()]
            if any(link.startswith(f"{folder}/") for link in links):
                found.append(int(entry.parent.name))
    return found
