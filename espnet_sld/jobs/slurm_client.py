"""Talk to Slurm: sbatch, squeue, scancel, scontrol; no wait is long where the controller does not answer."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

from espnet_sld.errors import InputError

CALL_SECONDS = 60.0  # a command that hangs longer is given up
LIMITS_SECONDS = 3.0  # … and the site's limits are not waited for longer: Slurm's defaults do
# squeue's columns: id of the array or job, index in the array, own id, state, reason, batch script (any text)
NO_INDEX = "N/A"  # in place of the index
COLUMNS = "%F|%K|%A|%T|%r|%o"
# Failures of sbatch that another try may mend; the first group may have submitted the job all the same.
UNSURE = re.compile(r"timed out|timeout|zero bytes|connection (reset|closed)|unexpected message", re.I)
LATER = re.compile(
    r"unable to contact|connection refused|temporarily unable|temporarily unavailable|try again"
    r"|communication (connection )?failure|controller .*(backup|standby)|too many open files",
    re.I,
)
FULL = re.compile(r"job submit limit|MaxSubmit|SubmitJobs?Limit|QOS.*policy", re.I)


class SubmitLater(Exception):
    """sbatch failed for now. `maybe_submitted`: the reply was lost, the job may be in the queue."""

    def __init__(self, message: str, maybe_submitted: bool):
        super().__init__(message)
        self.maybe_submitted = maybe_submitted


class SubmitLimit(Exception):
    """The site's limit of submitted jobs is reached: wait until some ended."""


@dataclass(frozen=True)
class Sighting:
    """One line of squeue. `array` is the job's id where there is no array, `key` then `NO_INDEX`."""

    array: str
    key: str
    job: str
    state: str
    reason: str
    script: str


def client_environment() -> dict[str, str]:
    """Our environment without what a surrounding job or squeue's settings would change.

    A driver that runs as a job has SLURM_* of its own, which inner commands would take for theirs.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM_", "SLURMD_", "SQUEUE_")) or name in {"SLURM_CONF", "SLURM_CLUSTERS"}
    }
    kept.pop("CUDA_VISIBLE_DEVICES", None)  # of this machine; the node has its own
    return kept


def call(words: list[str], seconds: float = CALL_SECONDS) -> subprocess.CompletedProcess:
    """Run one command in a session of its own: Ctrl-C is for us, not for it.

    Raises:
        InputError: the command does not exist.
    """
    try:
        return subprocess.run(
            words,
            env=client_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(
            f"{words[0]}: command not found; run this where Slurm is installed, or with cmd_backend=local"
        ) from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"{words[0]}: timed out")


def submit(words: list[str]) -> str:
    """Run sbatch (`words`: all of it, with --parsable) and return `id` or `id;cluster`.

    Raises:
        SubmitLater, SubmitLimit: try again.
        InputError: it will never do; with sbatch's words.
    """
    done = call(words)
    answer = done.stdout.strip().splitlines()
    if done.returncode == 0 and answer and re.fullmatch(r"\d+(;.*)?", answer[-1]):
        return answer[-1]
    message = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
    if FULL.search(message):
        raise SubmitLimit(message)
    if UNSURE.search(message) or done.returncode == 0:
        raise SubmitLater(message, True)
    if LATER.search(message):
        raise SubmitLater(message, False)
    raise InputError(message)


def cluster_words(cluster: str) -> list[str]:
    """`-M cluster` for jobs of another cluster."""
    return ["-M", cluster] if cluster else []


def cancel(jobs: Iterable[str], cluster: str = "", *, pending_only: bool = False) -> bool:
    """Whether scancel could be told (also of jobs that ended meanwhile)."""
    words = ["scancel", *cluster_words(cluster), *(["--state=PENDING"] if pending_only else []), *jobs]
    done = call(words)
    return done.returncode == 0 or not (UNSURE.search(done.stderr) or LATER.search(done.stderr))


def exit_code(job: str, cluster: str = "") -> str:
    """A job's `code:signal` as long as Slurm knows it, else ''."""
    text = call(["scontrol", *cluster_words(cluster), "--oneliner", "show", "job", job]).stdout
    found = re.search(r"\bExitCode=(\d+:\d+)", text)
    return found[1] if found else ""


def limits() -> tuple[int, float]:
    """(MaxArraySize, MinJobAge): array indices stay below the one; ended jobs are listed so many seconds."""
    text = call(["scontrol", "show", "config"], LIMITS_SECONDS).stdout
    size = re.search(r"MaxArraySize\s*=\s*(\d+)", text)
    age = re.search(r"MinJobAge\s*=\s*(\d+)", text)
    return (int(size[1]) if size else 1001), (float(age[1]) if age else 300.0)


class QueueQuery:
    """One squeue for all our jobs, in the background: a controller that does not answer holds up nothing."""

    def __init__(self, cluster: str = ""):
        # A file: a pipe would fill up with thousands of tasks. `answer` and `stop` close it.
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        words = ["squeue", "--me", "--noheader", "--array", "--states=all", f"--format={COLUMNS}"]
        try:
            self.process = subprocess.Popen(
                [*words, *cluster_words(cluster)],
                env=client_environment(),
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise InputError("squeue: command not found; run this where Slurm is installed") from None

    def poll(self) -> bool:
        """Whether it ended."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """Give it up."""
        self.process.kill()
        self.process.wait()
        self.output.close()

    def answer(self) -> list[Sighting] | str:
        """What squeue listed; its words if it could not be answered."""
        self.output.seek(0)
        text = self.output.read().decode("utf-8", "replace")
        self.output.close()
        if self.process.returncode:
            return " ".join(text.split()) or f"squeue: exit code {self.process.returncode}"
        return parse_queue(text)


def parse_queue(text: str) -> list[Sighting]:
    """squeue's lines in `COLUMNS`; others (such as a cluster's name) are left out."""
    sightings = []
    for line in text.splitlines():
        columns = line.strip().split("|", 5)
        if len(columns) == 6 and columns[0].isdigit():
            array, key, job, state, reason, script = columns
            sightings.append(Sighting(array, key, job, state, reason, script))
    return sightings
