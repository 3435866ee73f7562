"""Ask squeue again and again, without waiting for it: more often while things change, and never giving up."""

from __future__ import annotations

import time
from collections.abc import Callable

from espnet_sld.jobs.slurm_client import QueueQuery, Sighting

POLL_SECONDS, POLL_SECONDS_MAX = 5.0, 30.0
POLL_GROWTH = 1.3
SILENT_SECONDS = 5.0  # a query that waits longer is worth a line
QUERY_SECONDS = 60.0  # then the query is given up and a new one made


class QueueWatcher:
    """One squeue at a time for all tasks.

    Args:
        poll: seconds between two queries; None: 5, rising to 30 while nothing changes.
        job_age: seconds that Slurm lists an ended job; queries come thrice as often at least.
        say: told when the controller stops answering and when it answers again.
    """

    def __init__(self, poll: float | None, job_age: float, say: Callable[[str], None], cluster: str = ""):
        longest = poll or POLL_SECONDS_MAX
        self.longest = max(min(longest, job_age / 3), 1.0)
        self.shortest = min(poll or POLL_SECONDS, self.longest)
        self.interval = self.shortest
        self.say, self.cluster = say, cluster
        self.query: QueueQuery | None = None
        self.started = 0.0
        self.next = 0.0
        self.silent_since: float | None = None

    def soon(self, seconds: float = 1.0) -> None:
        """Something changed: ask again shortly, and often."""
        self.interval = self.shortest
        self.next = min(self.next, time.monotonic() + seconds)

    def tick(self) -> list[Sighting] | None:
        """What squeue listed, if an answer came since the last call; begins the next query when it is due."""
        now = time.monotonic()
        if self.query is None:
            if now >= self.next:
                self.query, self.started = QueueQuery(self.cluster), now
            return None
        if not self.query.poll():
            if now - self.started > SILENT_SECONDS:
                self._say_silent(f"squeue has waited {SILENT_SECONDS:.0f} s")
            if now - self.started > QUERY_SECONDS:
                self.stop()
                self.next = now + self.shortest
            return None
        answer = self.query.answer()
        self.query = None
        if isinstance(answer, str):
            self._say_silent(answer)
            self.next = now + self.shortest
            return None
        if self.silent_since is not None:
            self.say(f"Slurm answers again after {now - self.silent_since:.0f} s")
            self.silent_since = None
        self.next = now + self.interval
        self.interval = min(self.interval * POLL_GROWTH, self.longest)
        return answer

    def wait(self, stopped: Callable[[], bool]) -> list[Sighting]:
        """The next answer; nothing if `stopped` says so before."""
        self.next = 0.0
        while not stopped():
            answer = self.tick()
            if answer is not None:
                return answer
            time.sleep(0.05)
        return []

    def _say_silent(self, words: str) -> None:
        """That says nothing about the jobs: they run on, and so do we."""
        if self.silent_since is None:
            self.silent_since = self.started
            self.say(f"Slurm does not answer ({words}); tasks run on, trying again")

    def stop(self) -> None:
        """Give up a query under way."""
        if self.query:
            self.query.stop()
            self.query = None
