"""utils/slurm.py as a process whose words are read with the time they came at."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

SLURM_PY = Path(__file__).resolve().parents[2] / "utils" / "slurm.py"


class Submitter:
    """A running `slurm.py ARGUMENTS…` in `folder`.

    Args:
        environment: with SLURM_CONF; `Cluster.environment`.
        poll: its --poll-seconds.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *arguments: str, poll: int | None = 5):
        polling = [f"--poll-seconds={poll}"] if poll else []
        self.process = subprocess.Popen(
            [sys.executable, str(SLURM_PY), *polling, *arguments],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[tuple[float, str]] = []
        self.ended = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append((time.time(), line.rstrip("\n")))
        self.process.wait()
        self.ended = time.time()

    @property
    def text(self) -> str:
        """All that it said."""
        return "\n".join(line for _, line in self.lines)

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {seconds} s; it said:\n{self.text}") from None
        self._reader.join(10)
        return self.process.returncode

    def said(self, pattern: str, seconds: float = 60.0) -> float:
        """When it first said a line that matches (seconds since 1970); waits for it."""
        deadline = time.monotonic() + seconds
        while True:
            for when, line in list(self.lines):
                if re.search(pattern, line):
                    return when
            if self.ended or time.monotonic() > deadline:
                raise AssertionError(f"did not say '{pattern}'; it said:\n{self.text}")
            time.sleep(0.05)

    def signal(self, signum: int) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, signum)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        self.process.wait()
