"""A submission on disk, beside the logs: what was handed to Slurm, so that a killed submitter can go on.

`log/units.JOB.log` has `log/units.JOB.slurm/`:
    submission.json   which command, under which token, and whether it came to its end
    0.json 0.id       a chunk: its tasks, Slurm's job id; the next chunk is 1.json …
    0.TOKEN.sh        its batch script, by whose name squeue tells our jobs
    0.7.out           what Slurm and the prologue said, of the chunk's array index 7
    claims/           which run has a task (slurm_task.py)
    lock              held by the submitter at work
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.jobs import slurm_task
from espnet_sld.jobs.arguments import Request, Task
from espnet_sld.jobs.slurm_client import NO_INDEX
from espnet_sld.jobs.slurm_conf import OURS, SlurmConf


@dataclass
class Chunk:
    """Tasks submitted by one sbatch.

    Args:
        tasks: key in the job array → task's index.
        attempts: task's index → how many runs it had before.
        job: Slurm's id of the array, or of the job; '' before sbatch answered.
    """

    folder: Path
    token: str
    number: int
    tasks: dict[str, int]
    attempts: dict[int, int]
    array: bool
    job: str = ""

    def file(self, ending: str) -> Path:
        """The chunk's file with this ending."""
        return self.folder / f"{self.number}{ending}"

    @property
    def script(self) -> str:
        """The batch script's name; no other submission has it."""
        return str(self.file(f".{self.token}.sh"))

    @property
    def job_id(self) -> str:
        """`job` without the cluster's name."""
        return self.job.partition(";")[0]

    def label(self, key: str) -> str:
        """What Slurm's commands call a task's job: `17_3`, or `17`."""
        return f"{self.job_id}_{key}" if self.array else self.job_id

    def place(self, key: str) -> tuple[str, str]:
        """The array and the index that squeue lists for a task."""
        return self.job_id, key if self.array else NO_INDEX

    def output(self, key: str) -> Path:
        """What Slurm itself said about a task."""
        return self.file(f".{key}.out")

    def note_job(self, job: str) -> None:
        """Keep Slurm's id."""
        _write(self.file(".id"), job)
        self.job = job


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


@dataclass
class Submission:
    """All chunks of one command line. Make it with `open_submission`."""

    request: Request
    conf: SlurmConf
    folder: Path
    digest: str
    token: str = ""
    chunks: list[Chunk] = field(default_factory=list)
    created: str = ""
    cluster: str = ""

    def begin(self) -> None:
        """Start afresh: forget earlier chunks; claims stay, since their runs may still be dying."""
        for path in self.folder.iterdir():
            if path.suffix in {".json", ".sh", ".id", ".out"}:
                path.unlink()
        self.chunks, self.cluster = [], ""
        self.token, self.created = secrets.token_hex(8), time.strftime("%Y-%m-%d %H:%M:%S")
        self._save(closed=False)

    def close(self, *, success: bool) -> None:
        """The command came to its end: nothing to go on with; after a success nothing to look at either."""
        self._save(closed=True)
        if success:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _save(self, closed: bool) -> None:
        stored = {"token": self.token, "digest": self.digest, "created": self.created, "closed": closed}
        stored["jobs"] = [chunk.job for chunk in self.chunks]
        _write(self.folder / "submission.json", json.dumps(stored, indent=1) + "\n")

    def add_chunk(self, tasks: Sequence[Task], attempts: Mapping[int, int], max_index: int) -> Chunk:
        """Write a chunk's files.

        Args:
            tasks: at most `max_index` many.
            attempts: task's index → runs before.
            max_index: the greatest index that an array may have; tasks beyond it are numbered from 1.
        """
        number = 1 + max((chunk.number for chunk in self.chunks), default=-1)
        own = tasks[-1].index <= max_index
        keys = {str(task.index if own else place): task for place, task in enumerate(tasks, 1)}
        array = self.request.variable is not None
        if not array:
            keys = {"0": tasks[0]}
        chunk = Chunk(
            self.folder,
            self.token,
            number,
            {key: task.index for key, task in keys.items()},
            {task.index: attempts.get(task.index, 0) for task in tasks},
            array,
        )
        options = self.conf.values(self.request.options)
        spec = {
            "token": self.token,
            "array": array,
            "threads": int(options.get("num_threads", 1)),
            "num_nodes": int(options.get("num_nodes", 1)),
            "gpus": int(str(options.get("gpu", 0)).rpartition(":")[2]),
            "wrapper": self.conf.wrapper,
            "claims": str(self.folder / "claims"),
            "tasks": {
                key: {
                    "index": task.index,
                    "attempt": chunk.attempts[task.index],
                    "log": str(task.log),
                    "result": str(task.result),
                    "command": task.command,
                }
                for key, task in keys.items()
            },
        }
        _write(chunk.file(".json"), json.dumps(spec))
        _write(Path(chunk.script), self._script(chunk))
        self.chunks.append(chunk)
        return chunk

    def split(self, chunk: Chunk, tasks: Mapping[int, Task], max_index: int) -> list[Chunk]:
        """Two smaller chunks for one that was too large for the site."""
        members = [tasks[index] for index in chunk.tasks.values()]
        middle = len(members) // 2
        halves = [
            self.add_chunk(part, chunk.attempts, max_index) for part in (members[:middle], members[middle:])
        ]
        self.drop(chunk)
        return halves

    def drop(self, chunk: Chunk) -> None:
        """Forget a chunk that was not submitted."""
        self.chunks.remove(chunk)
        for path in (chunk.file(".json"), Path(chunk.script)):
            path.unlink(missing_ok=True)

    def _script(self, chunk: Chunk) -> str:
        words = [sys.executable, "-S", "-E", slurm_task.__file__, str(chunk.file(".json"))]
        lines = [
            "#!/usr/bin/env bash",
            f"# {' '.join(self.request.name.split())}",
            f"cd {shlex.quote(os.getcwd())} || exit 1",
            "export SLURM_EXPORT_ENV=ALL",
            *self.conf.prologue,
            "if [ -f path.sh ]; then . ./path.sh; fi",
            f"exec {shlex.join(words)}",
        ]
        return "\n".join(lines) + "\n"

    def sbatch_words(self, chunk: Chunk, throttle: int | None) -> list[str]:
        """The whole sbatch command of a chunk, at most `throttle` tasks at once."""
        words = [*self.conf.command, "--parsable", "--job-name", self.request.name]
        words += self.conf.sbatch_words(self.request.options)
        words += ["--kill-on-invalid-dep=yes", "--open-mode=append"]
        place = "%a" if chunk.array else "0"
        words += ["--output", str(chunk.folder).replace("%", "%%") + f"/{chunk.number}.{place}.out"]
        if chunk.array:
            limit = f"%{throttle}" if throttle else ""
            words += ["--array", _ranges([int(key) for key in chunk.tasks]) + limit]
        return [*words, chunk.script]


def _ranges(numbers: Sequence[int]) -> str:
    """`[1, 2, 3, 7]` → `1-3,7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _digest(request: Request) -> str:
    """Of all that makes two command lines the same submission."""
    options = {name: value for name, value in request.options.items() if name not in OURS}
    tasks = [[task.index, str(task.log), task.command] for task in request.tasks()]
    text = json.dumps([os.getcwd(), options, tasks], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def open_submission(request: Request, conf: SlurmConf) -> tuple[Submission, Submission | None]:
    """Take the lock of a command's logs.

    Returns:
        the submission, to be begun; and the one of a submitter that was killed, with its chunks, if any
        (the same object's kind; the same `digest` if it was the same command).

    Raises:
        InputError: another submitter is at work on these logs, or the folder cannot be written.
    """
    log = Path(request.log).absolute()
    folder = log.with_name(re.sub(r"\.log$", "", log.name) + ".slurm")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _lock(folder / "lock")
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; logs cannot be written there") from None
    new = Submission(request, conf, folder, _digest(request))
    try:
        stored = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
        if stored["closed"]:
            return new, None
        old = Submission(request, conf, folder, stored["digest"], stored["token"], created=stored["created"])
        old.chunks = sorted(_chunks(folder), key=lambda chunk: chunk.number)
    except (OSError, ValueError, KeyError):  # none, or not ours
        return new, None
    if old.chunks:
        old.cluster = old.chunks[-1].job.partition(";")[2]
    return new, old


def _chunks(folder: Path) -> Iterable[Chunk]:
    for path in folder.glob("[0-9]*.json"):
        spec = json.loads(path.read_text(encoding="utf-8"))
        chunk = Chunk(
            folder,
            spec["token"],
            int(path.stem),
            {key: task["index"] for key, task in spec["tasks"].items()},
            {task["index"]: task["attempt"] for task in spec["tasks"].values()},
            spec["array"],
        )
        with contextlib.suppress(OSError):
            chunk.job = chunk.file(".id").read_text(encoding="utf-8").strip()
        yield chunk


_LOCKS: list[int] = []  # open until this process ends, however it ends


def _lock(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 200).decode("utf-8", "replace").strip()
        raise InputError(
            f"{path.parent}: {holder} is at work on these tasks; wait for it or end it"
        ) from None
    except OSError:
        pass  # a file system without locks
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
    _LOCKS.append(handle)
