"""What a task leaves beside its log: a small JSON that appears whole."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from espnet_sld.errors import REQUEUE

# Exit codes as shells give them: 128 + signal.
MEANINGS = {
    REQUEUE: "saved its state and asks to be run again",
    126: "not executable",
    127: "command not found",
    128 + signal.SIGINT: "interrupted",
    128 + signal.SIGABRT: "aborted",
    128 + signal.SIGUSR1: "ended by USR1, perhaps the warning of its time limit: give it more time",
    128 + signal.SIGBUS: "bus error, perhaps a full disk or /dev/shm",
    128 + signal.SIGKILL: "killed, perhaps out of memory",
    128 + signal.SIGSEGV: "segmentation fault",
    128 + signal.SIGTERM: "terminated",
}


@dataclass
class Result:
    """How a task ended. `started`, `ended` in seconds since 1970; memory is the largest process's, in MiB.

    `signal` ended the command, `stopped_by` is the signal by which others ended the task (both 0: none).
    A cluster back-end adds which submission and attempt it was (results of others do not count), and the job.
    """

    exit_code: int
    host: str = ""
    seconds: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mib: float = 0.0
    command: list[str] = field(default_factory=list)
    command_digest: str = ""
    gpus: str = ""
    signal: int = 0
    stopped_by: int = 0
    submission: str = ""
    attempt: int = 0
    job: str = ""


def command_digest(command: Sequence[str]) -> str:
    """A short hash of a command, to tell whether a result belongs to it."""
    return hashlib.sha256("\0".join(command).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def shell_code(returncode: int) -> int:
    """subprocess's return code as a shell's: -9 → 137."""
    return 128 - returncode if returncode < 0 else returncode


def explain(exit_code: int) -> str:
    """`code 137: killed, perhaps out of memory`."""
    meaning = MEANINGS.get(exit_code, "")
    if not meaning and 128 < exit_code < 160:
        meaning = f"signal {exit_code - 128}"
    return f"code {exit_code}: {meaning}" if meaning else f"code {exit_code}"


def write_result(path: Path, result: Result) -> None:
    """Write atomically: readers see nothing or the whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(result), stream, indent=1)
            stream.write("\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_result(path: Path) -> Result | None:
    """The result, or None where there is none (or not ours)."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Result(**stored)
    except (OSError, ValueError, TypeError):
        return None
