"""Where and with what a result was made: revision, machine, package versions; nothing heavy is imported."""

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "espnet", "transformers", "sentencepiece", "numpy", "jiwer", "rapidfuzz")


def git_revision(directory: str | os.PathLike | None = None) -> str:
    """Commit of the code, with `-dirty` if tracked files differ from it; `unknown` outside a checkout.

    Installed below another project's checkout, as in its `.venv`, it is outside: nothing there is tracked.
    """
    directory = Path(directory) if directory is not None else Path(__file__).resolve().parent
    # Optional locks would let a mere look at the tree fail beside another git command.
    command = ["git", "--no-optional-locks", "-C", str(directory)]

    def ask(*words: str) -> str:
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=True, timeout=20)
        return done.stdout.strip()

    try:
        if not ask("ls-files"):
            return "unknown"
        revision, changed = ask("rev-parse", "HEAD"), ask("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{revision}-dirty" if changed else revision


def short_revision(revision: str) -> str:
    """Ten digits of a commit; `-dirty` stays."""
    return revision[:10] + revision[40:]


def code_words(revisions: Iterable[str]) -> str:
    """What a table says of the code behind it: `Code: 0123456789, …`; nothing where it is not known."""
    known = ", ".join(map(short_revision, revisions))
    return f"Code: {known}." if known else ""


def environment() -> dict[str, str]:
    """Python, package versions (from their metadata), operating system, processor and usable cores."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {**versions, "system": platform.platform(), "cpu": _cpu_model(), "cores": str(_cores())}


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
