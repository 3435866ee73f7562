"""Progress of long work: done/total, rate, time left; plain lines when not on a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")


class Progress:
    """Counts finished items and says so on stderr.

    On a terminal one line is redrawn; elsewhere a plain line appears at most every `interval` seconds,
    so that logs stay short. A last line gives the total and the rate.
    """

    def __init__(
        self,
        total: int,
        what: str,
        *,
        unit: str = "utterances",
        interval: float = 10.0,
        stream: TextIO | None = None,
    ):
        self.total, self.what, self.unit = total, what, unit
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.interval = 0.2 if self.terminal else interval
        self.done = 0
        self.started = self.shown = time.monotonic()

    def update(self, count: int = 1) -> None:
        """Note `count` more finished items."""
        self.done += count
        now = time.monotonic()
        if now - self.shown >= self.interval and self.done < self.total:
            self.shown = now
            self._write(self._line(now), last=False)

    def close(self) -> None:
        """Print the last line."""
        self._write(self._line(time.monotonic()), last=True)

    def _line(self, now: float) -> str:
        seconds = max(now - self.started, 1e-9)
        rate = self.done / seconds
        text = f"{self.what}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s"
        if self.done >= self.total:
            return f"{text}, {format_seconds(seconds)}"
        left = (self.total - self.done) / rate if rate > 0 else float("inf")
        return f"{text}, {format_seconds(left)} left"

    def _write(self, text: str, *, last: bool) -> None:
        if self.terminal:
            self.stream.write(f"\r\x1b[2K{text}" + ("\n" if last else ""))
        else:
            self.stream.write(text + "\n")
        self.stream.flush()


def track(items: Iterable[Item], total: int, what: str, **kwargs) -> Iterator[Item]:
    """Yield `items` and show how far the work is."""
    progress = Progress(total, what, **kwargs)
    for item in items:
        yield item
        progress.update()
    progress.close()


def format_seconds(seconds: float) -> str:
    """`75` → `1m15s`; what a person reads faster than 75.0."""
    if seconds == float("inf"):
        return "unknown time"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
