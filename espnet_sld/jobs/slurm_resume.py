"""Going on where a submitter was killed: its tasks that are done, those queued, those to submit again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from espnet_sld.jobs.arguments import Task
from espnet_sld.jobs.result import Result, read_result
from espnet_sld.jobs.slurm_client import Sighting
from espnet_sld.jobs.slurm_verdict import ENDED
from espnet_sld.jobs.submission import Chunk, Submission


@dataclass
class TakeOver:
    """`places`: task → chunk and key of its latest run; `again`: task → runs before."""

    places: dict[int, tuple[Chunk, str]]
    finished: set[int]
    queued: set[int]
    again: dict[int, int]


def own_result(task: Task, chunk: Chunk) -> Result | None:
    """The task's result, if this run of it wrote it."""
    result = read_result(task.result)
    if result and (result.submission, result.attempt) == (chunk.token, chunk.attempts[task.index]):
        return result
    return None


def places_of(chunks: Iterable[Chunk]) -> dict[int, tuple[Chunk, str]]:
    """Task → chunk and key of its latest run."""
    return {index: (chunk, key) for chunk in chunks for key, index in chunk.tasks.items()}


def live_jobs(old: Submission, listed: Iterable[Sighting]) -> list[Sighting]:
    """The jobs of a submission that have not ended; ids that its submitter had no time to note are noted."""
    by_script = {chunk.script: chunk for chunk in old.chunks}
    live = []
    for sighting in listed:
        chunk = by_script.get(sighting.script)
        if chunk is None:
            continue
        if not chunk.job:
            chunk.note_job(sighting.array)
        if sighting.state not in ENDED:
            live.append(sighting)
    return live


def take_over(
    old: Submission, tasks: Mapping[int, Task], live: Iterable[Sighting]
) -> tuple[TakeOver | None, str]:
    """Sort a submission's tasks.

    Args:
        old: what the killed submitter left.
        tasks: the same command's tasks.
        live: its jobs that are still in the queue.

    Returns:
        the tasks sorted, and what to tell the user; None where all is to begin afresh: when nothing is left,
        or when no job runs any more and something that a command names is newer than the last task's end.
    """
    places = places_of(chunk for chunk in old.chunks if chunk.job)
    queued_keys = {(sighting.array, sighting.key) for sighting in live}
    finished, queued, ended = set(), set(), 0.0
    for index, (chunk, key) in places.items():
        result = own_result(tasks[index], chunk)
        if result and result.exit_code == 0:
            finished.add(index)
            ended = max(ended, result.ended)
        elif chunk.place(key) in queued_keys:
            queued.add(index)
    if not finished and not queued:
        return None, ""
    if not queued:
        newer = changed_since(tasks.values(), ended)
        if newer:
            return None, f"{newer} changed since the interrupted run of {old.created}: all tasks begin afresh"
    again = {
        index: places[index][0].attempts[index] + 1 if index in places else 0
        for index in tasks
        if index not in finished | queued
    }
    message = (
        f"going on with the interrupted run of {old.created}: {len(finished)} done, {len(queued)} queued or"
        f" running, {len(again)} to submit"
    )
    return TakeOver(places, finished, queued, again), message


def changed_since(tasks: Iterable[Task], when: float) -> str:
    """A file or directory that a command names and that changed after `when` (seconds since 1970), or ''."""
    words = {part for task in tasks for word in task.command for part in re.split("[=,]", word)}
    for word in sorted(words):
        try:
            if os.stat(word).st_mtime > when + 2:
                return word
        except (OSError, ValueError):  # no path
            continue
    return ""
