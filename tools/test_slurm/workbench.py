"""What fault cases share: a folder, submitters, squeue's word with its time, and the count of lost tasks."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster
from submitter import Submitter

# Every task appends a line when it begins and one when it ends, so that runs at the same time can be seen.
TASK = "echo begin $$ >> runs.JOB; echo $$ > pid.JOB; {body}; echo end $$ >> runs.JOB"


@dataclass
class Row:
    """One measurement; `expected`: it ended as it should."""

    fault: str
    outcome: str
    seconds: float
    lost: int
    slurm: str = ""
    expected: bool = True
    name: str = ""


class Watcher(threading.Thread):
    """Asks squeue five times a second when a job's state is first one that is waited for."""

    def __init__(self, cluster: Cluster, job: str, wanted: Callable[[str], bool]):
        super().__init__(daemon=True)
        self.cluster, self.job, self.wanted = cluster, job, wanted
        self.when, self.state, self.stopped = 0.0, "", False
        self.start()

    def run(self) -> None:
        while not self.stopped:
            asked = time.time()
            text = self.cluster.command(
                "squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i %T %r"
            )
            for line in text.splitlines():
                job, _, state = line.partition(" ")
                if job == self.job and self.wanted(state.split()[0]):
                    self.when, self.state = asked, state.removesuffix(" None")
                    return
            time.sleep(0.2)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: waited {seconds} s in vain"
        time.sleep(0.05)


class Bench:
    """One case's folder and what runs for it."""

    def __init__(self, cluster: Cluster, folder: Path):
        self.cluster, self.folder = cluster, folder
        self.tasks = 0
        self.submitters: list[Submitter] = []
        self.watchers: list[Watcher] = []

    def submit(self, body: str, *options: str, tasks: int = 2, before: str = "") -> Submitter:
        """An array of tasks that run `body` (bash; JOB is the index) by a submitter that polls every 5 s.

        `before`: what a task does before it writes that it began.
        """
        self.tasks = tasks
        command = ["bash", "-c", before + TASK.format(body=body)]
        arguments = [*options, f"JOB=1:{tasks}", "t.JOB.log", *command]
        submitter = Submitter(self.folder, self.cluster.environment, *arguments)
        self.submitters.append(submitter)
        return submitter

    def started(self, index: int, seconds: float = 60.0) -> int:
        """Wait until a task runs; its command's process id."""
        path = self.folder / f"pid.{index}"
        wait_for(lambda: path.exists() and path.read_text().strip(), f"task {index} to start", seconds)
        time.sleep(6)  # the submitter has seen it running
        return int(path.read_text())

    def job(self, index: int) -> str:
        """Slurm's name of a task's job."""
        listed = self.cluster.command("squeue", "--me", "--noheader", "--array", "--format=%i").split()
        return next(job for job in listed if job.endswith(f"_{index}"))

    def node(self, job: str) -> str:
        """Where a job runs."""
        return self.cluster.command("squeue", "--noheader", "-j", job, "--format=%N")

    def watch(self, job: str, wanted: Callable[[str], bool]) -> Watcher:
        """When Slurm itself knows."""
        watcher = Watcher(self.cluster, job, wanted)
        self.watchers.append(watcher)
        return watcher

    def runs(self, index: int) -> list[list[str]]:
        """What a task's runs wrote: `begin PID` and `end PID`."""
        path = self.folder / f"runs.{index}"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def lost(self, submitter: Submitter) -> int:
        """Tasks that were neither done nor reported, or of which two runs came to their end."""
        count = 0
        for index in range(1, self.tasks + 1):
            result = self.folder / f"t.{index}.json"
            done = result.exists() and json.loads(result.read_text())["exit_code"] == 0
            ends = [row for row in self.runs(index) if row[0] == "end"]
            reported = f" {index} (" in submitter.text.partition("tasks failed:")[2].partition("\n")[0]
            good = (done and len(ends) == 1) or (not done and reported)
            count += not good
        return count

    def row(
        self, fault: str, outcome: str, noticed: float, watcher: Watcher | None, submitter: Submitter
    ) -> Row:
        """A row; `noticed`: when the submitter did (seconds since 1970)."""
        if watcher:
            watcher.join(30)
            assert watcher.when, f"Slurm never knew; it said: {self.cluster.command('squeue', '-t', 'all')}"
        seconds = max(0.0, noticed - watcher.when) if watcher else 0.0
        lost = self.lost(submitter)
        state = watcher.state if watcher else ""
        return Row(fault, outcome, round(seconds, 1), lost, state, expected=not lost and seconds <= 15)

    def close(self) -> None:
        """End submitters and jobs."""
        for watcher in self.watchers:
            watcher.stopped = True
        for submitter in self.submitters:
            if submitter.process.poll() is None:
                submitter.signal(signal.SIGTERM)
                submitter.process.wait(90)
        self.cluster.command("scancel", "--me", "--full", "--signal=KILL")
        self.cluster.command("scancel", "--me")
        wait_for(self.cluster.idle, "idle nodes", 120)


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
