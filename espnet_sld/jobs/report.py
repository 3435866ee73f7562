"""What the user sees of an array: one line of progress, and why it failed."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from espnet_sld.jobs.arguments import Request, Task
from espnet_sld.jobs.result import explain

TAIL_LINES = 20
SHOWN_FAILURES = 10


def rough_time(seconds: float) -> str:
    """`200` → `3 min`: as exact as a guess deserves."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class ProgressLine:
    """`units: 12/32 done, 4 running, 0 failed, 3 min left`.

    Redrawn on a terminal; elsewhere a new line at most every `interval` seconds and only when something ended
    (or a minute passed), and none for what ends before the first interval but the last.
    """

    def __init__(self, name: str, total: int, *, interval: float = 10.0, stream: TextIO | None = None):
        self.name, self.total, self.interval = name, total, interval
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.started = self.shown = time.monotonic()
        self.state = (0, 0)
        self.note = ""  # e.g. why nothing runs yet; added to the line

    def line(self, done: int, running: int, failed: int, seconds: float) -> str:
        """The text for this state; `seconds` since the start."""
        text = f"{self.name}: {done}/{self.total} done, {running} running, {failed} failed"
        ended = done + failed
        if ended == self.total:
            return f"{text}, {rough_time(seconds)}"
        if ended:
            text = f"{text}, {rough_time(seconds / ended * (self.total - ended))} left"
        else:
            text = f"{text}, {rough_time(seconds)} so far"
        return f"{text} ({self.note})" if self.note else text

    def update(self, done: int, running: int, failed: int, *, last: bool = False) -> None:
        """Show the state if it is time to."""
        now = time.monotonic()
        text = self.line(done, running, failed, now - self.started)
        if self.terminal:
            if last or now - self.shown >= 0.2:
                self.shown = now
                self._write(f"\r\x1b[2K{text}" + ("\n" if last else ""))
            return
        waited = now - self.shown
        if last or (waited >= self.interval and ((done, failed) != self.state or waited >= 60)):
            self.shown, self.state = now, (done, failed)
            self._write(text + "\n")

    def say(self, message: str) -> None:
        """A line of its own, e.g. that a task is submitted again."""
        self._write((f"\r\x1b[2K{self.name}: " if self.terminal else f"{self.name}: ") + message + "\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def tail(path: Path, count: int = TAIL_LINES) -> list[str]:
    """The last lines of a log, without the head and foot that the task's runner wrote."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 65536))
            lines = stream.read().decode("utf-8", "replace").split("\n")
    except OSError as error:
        return [f"(no log: {error.strerror})"]
    if lines and not lines[-1]:
        lines.pop()
    # Progress bars redraw with carriage returns: their last state is what counts.
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines]
    if len(lines) > 2 and lines[0].startswith("# ") and lines[2] == "#":
        lines = lines[3:]  # the head: the report names the command itself
    kept = [line for line in lines if not line.startswith(("# Accounting: ", "# Ended ("))]
    return [line[:2000] for line in kept[-count:]] or ["(the command printed nothing)"]


def failure_report(
    request: Request,
    failed: Mapping[int, int | str],
    tasks: Mapping[int, Task],
    not_started: int,
    more_logs: Mapping[int, Path] | None = None,
) -> str:
    """Which tasks failed and how, the end of the first failing log, its command, and how to go on.

    Args:
        failed: task index → exit code, or the cause in words.
        tasks: task index → task.
        not_started: tasks that were not begun because the others failed.
        more_logs: task index → what the cluster said about the task, shown if there is anything.
    """
    indices = sorted(failed)
    causes = {index: _cause(failed[index]) for index in indices}
    if request.variable is None:
        lines = [f"{request.name} failed ({causes[indices[0]]})"]
    else:
        each = ", ".join(f"{index} ({causes[index]})" for index in indices[:SHOWN_FAILURES])
        more = f" and {len(indices) - SHOWN_FAILURES} more" if len(indices) > SHOWN_FAILURES else ""
        lines = [f"{request.name}: {len(indices)} of {len(tasks)} tasks failed: {each}{more}"]
        if not_started:
            lines.append(f"{not_started} tasks were not started, since all others failed")
    first = tasks[indices[0]]
    lines.append(f"the end of {first.log}:")
    lines += [f"  | {line}" for line in tail(first.log)]
    other = (more_logs or {}).get(first.index)
    if other and other.exists() and other.stat().st_size:
        lines.append(f"the end of {other}:")
        lines += [f"  | {line}" for line in tail(other)]
    lines.append(f"command: {shlex.join(first.command)}")
    lines.append("to resume: run the same command again; finished tasks are kept")
    return "\n".join(lines)


def _cause(failure: int | str) -> str:
    return failure if isinstance(failure, str) else explain(failure)
