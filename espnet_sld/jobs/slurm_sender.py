"""Hand chunks of tasks to sbatch: within the site's limits, again when it fails for now, never twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from espnet_sld.errors import InputError
from espnet_sld.jobs import slurm_client
from espnet_sld.jobs.arguments import Task
from espnet_sld.jobs.slurm_client import Sighting, SubmitLater, SubmitLimit
from espnet_sld.jobs.submission import Chunk, Submission

LIMIT_SECONDS = 30.0  # before a submission that was over the site's limit is tried again
DELAY, DELAY_MAX = 5.0, 60.0  # after a failure, doubled each time
DOUBT_ANSWERS = 2  # squeue answers that do not list a job whose submission was not confirmed


class ChunkSender:
    """Chunks on their way to Slurm.

    Args:
        submission: where chunks are written.
        tasks: index → task.
        max_index: greatest index of a job array; a chunk has at most so many tasks.
        throttle: tasks at once, None: no limit.
        say: told what the user should know.
    """

    def __init__(
        self,
        submission: Submission,
        tasks: Mapping[int, Task],
        max_index: int,
        throttle: int | None,
        say: Callable[[str], None],
    ):
        self.submission, self.tasks = submission, tasks
        self.max_index, self.throttle, self.say = max_index, throttle, say
        self.unsent: list[Chunk] = []
        self.doubtful: dict[int, int] = {}  # chunk's number → squeue answers without it
        self.doubles: set[str] = set()
        self.not_before = 0.0
        self.delay = DELAY
        self.said: set[str] = set()

    def add(self, attempts: Mapping[int, int]) -> None:
        """Tasks to be submitted: index → how many runs it had before."""
        indices = sorted(attempts)
        for start in range(0, len(indices), self.max_index):
            part = [self.tasks[index] for index in indices[start : start + self.max_index]]
            self.unsent.append(self.submission.add_chunk(part, attempts, self.max_index))

    def send_due(self, active: int, stopped: Callable[[], bool]) -> list[Chunk]:
        """Submit what may be submitted now; `active` tasks are in Slurm's hands. Returns what was.

        Raises:
            InputError: sbatch refuses for good.
        """
        sent: list[Chunk] = []
        while self.unsent and not self.doubtful and time.monotonic() >= self.not_before and not stopped():
            chunk = self.unsent[0]
            size = min(len(chunk.tasks), self.throttle or 0)
            if self.throttle and active and active + size > self.throttle:
                break  # %k of sbatch holds within one array only
            if self._send(chunk, active):
                sent.append(chunk)
                active += len(chunk.tasks)
        return sent

    def _send(self, chunk: Chunk, active: int) -> bool:
        words = self.submission.sbatch_words(chunk, self.throttle)
        try:
            job = slurm_client.submit(words)
        except SubmitLimit as error:
            if len(chunk.tasks) > 1:
                self.unsent[:1] = self.submission.split(chunk, self.tasks, self.max_index)
            elif active:
                self._say_once(f"the site's limit is reached ({error}); the rest follows as tasks end")
                self.not_before = time.monotonic() + LIMIT_SECONDS
            else:
                raise InputError(f"{error}\nsubmitted with: {' '.join(words)}") from None
            return False
        except SubmitLater as error:
            if error.maybe_submitted:
                self.doubtful[chunk.number] = 0
            self._say_once(f"not submitted yet ({error}); trying again")
            self.not_before = time.monotonic() + self.delay
            self.delay = min(DELAY_MAX, 2 * self.delay)
            return False
        except InputError as error:
            where = f"see {self.submission.conf.source} and the options in cmd.sh"
            raise InputError(f"{error}\nsubmitted with: {' '.join(words)}\n{where}") from None
        self._confirm(chunk, job)
        return True

    def _confirm(self, chunk: Chunk, job: str) -> None:
        chunk.note_job(job)
        self.submission.cluster = job.partition(";")[2]
        self.unsent.remove(chunk)
        self.doubtful.pop(chunk.number, None)
        self.delay = DELAY

    def see_queue(self, listed: Iterable[Sighting]) -> list[Chunk]:
        """Clear up doubts: chunks that squeue lists although sbatch's reply was lost.

        A job that turns up after its submission was repeated is cancelled.
        """
        listed = list(listed)
        arrays = {sighting.script: sighting.array for sighting in listed}
        found = [chunk for chunk in self.unsent if chunk.number in self.doubtful and chunk.script in arrays]
        for chunk in found:
            cluster = self.submission.cluster
            self._confirm(chunk, arrays[chunk.script] + (f";{cluster}" if cluster else ""))
        for number in list(self.doubtful):
            self.doubtful[number] += 1
            if self.doubtful[number] >= DOUBT_ANSWERS:
                del self.doubtful[number]
        ours = {chunk.script: chunk.job_id for chunk in self.submission.chunks if chunk.job}
        doubles = {s.array for s in listed if s.script in ours and s.array != ours[s.script]} - self.doubles
        if doubles:
            self.doubles |= doubles
            slurm_client.cancel(doubles, self.submission.cluster)
        return found

    def doubtful_scripts(self) -> set[str]:
        """Batch scripts that may have been submitted."""
        return {chunk.script for chunk in self.unsent if chunk.number in self.doubtful}

    def _say_once(self, message: str) -> None:
        if message not in self.said:
            self.said.add(message)
            self.say(message)
