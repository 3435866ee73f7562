"""Run an array of tasks on a Slurm cluster: submit, watch, submit again what is not the tasks' own fault."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from espnet_sld.errors import REQUEUE, InputError
from espnet_sld.jobs import report, slurm_client
from espnet_sld.jobs.arguments import Request, prepare
from espnet_sld.jobs.slurm_client import Sighting
from espnet_sld.jobs.slurm_conf import SlurmConf, read_slurm_conf
from espnet_sld.jobs.slurm_queue import QueueWatcher
from espnet_sld.jobs.slurm_resume import live_jobs, own_result, take_over
from espnet_sld.jobs.slurm_sender import ChunkSender
from espnet_sld.jobs.slurm_verdict import ENDED, NO_RESULT, Watch, from_slurm, judge
from espnet_sld.jobs.submission import Chunk, Submission, open_submission

TICK = 0.5
RESULT_SECONDS = 1.0  # between two looks for result files
RETRIES = 3
PROGRESS_SECONDS = 60.0  # a run that lasted so long and asks to be run again made progress: not counted
HOPELESS = 3  # so many failures and no success: the rest is not tried
CANCEL_SECONDS = 60.0


class SlurmArray:
    """Submits a request's tasks and sees each to its end."""

    def __init__(self, request: Request, conf: SlurmConf):
        request = replace(request, options=conf.with_ours(request.options))
        self.request = request
        self.tasks = {task.index: task for task in request.tasks()}
        self.progress = report.ProgressLine(request.name, len(self.tasks))
        array_size, job_age = slurm_client.limits()
        self.submission, self.old = open_submission(request, conf)
        throttle = request.number("max_jobs_run", 0) or None
        self.sender = ChunkSender(
            self.submission, self.tasks, max(1, array_size - 1), throttle, self.progress.say
        )
        poll = float(request.options["poll_seconds"]) if "poll_seconds" in request.options else None
        self.queue = QueueWatcher(poll, job_age, self.progress.say)
        self.places: dict[int, tuple[Chunk, str]] = {}  # task → chunk and key of its latest run
        self.watches: dict[int, Watch] = {}  # tasks in Slurm's hands
        self.again: dict[int, int] = {}  # tasks to be submitted again → runs before
        self.retries: Counter[int] = Counter()
        self.done: set[int] = set()
        self.failed: dict[int, int | str] = {}
        self.given_up: set[int] = set()  # waiting tasks that were cancelled as hopeless
        self.not_started = 0
        self.signal = self.signals = 0
        self.read_at = 0.0

    def run(self) -> int:
        """Run all; 0 if every task succeeded, 1 if not, 128 + n after signal n."""
        self._catch_signals()
        resumed = self.old is not None and self._resume(self.old)
        if self.signal:  # while we waited for Slurm: what an earlier run left stays as it is
            return 128 + self.signal
        if not resumed:
            self._begin()
        while (self.watches or self.sender.unsent or self.again) and not self.signal:
            try:
                self._submit()
            except InputError as error:
                self._cancel_jobs()
                self.submission.close(success=False)
                raise InputError(f"{self.request.name}: {error}") from None
            self._read_results()
            listed = self.queue.tick()
            if listed is not None:
                self._see_queue(listed)
            self._judge_all()
            self._give_up_if_hopeless()
            self._show()
            time.sleep(TICK)
        self.queue.stop()
        return self._cancel() if self.signal else self._finish()

    # -- beginning

    def _begin(self) -> None:
        self.submission.begin()
        prepare(self.tasks.values())
        self.again = dict.fromkeys(self.tasks, 0)

    def _resume(self, old: Submission) -> bool:
        """Whether the tasks of a killed submitter were taken over."""
        self.queue.cluster = old.cluster
        live = live_jobs(old, self.queue.wait(lambda: bool(self.signal)))
        if self.signal:
            return False
        taken, message = None, ""
        if old.digest == self.submission.digest:
            taken, message = take_over(old, self.tasks, live)
        elif live:
            slurm_client.cancel({sighting.array for sighting in live}, old.cluster)
            message = (
                f"{len(live)} task(s) of an interrupted, different command with these logs were cancelled"
            )
        if message:
            self.progress.say(message)
        if taken is None:
            return False
        self.submission = self.sender.submission = old
        self.places, self.again = taken.places, taken.again
        self.done = taken.finished
        self.watches = {index: Watch() for index in taken.queued}
        return True

    def _catch_signals(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN:
                continue  # nohup: the user wants it to go on
            signal.signal(signum, self._note_signal)

    def _note_signal(self, signum: int, _frame: object) -> None:
        self.signal, self.signals = signum, self.signals + 1

    # -- watching

    def _submit(self) -> None:
        if self.again:
            self.sender.add(self.again)
            self.again = {}
        self._take(self.sender.send_due(len(self.watches), lambda: bool(self.signal)))

    def _take(self, chunks: list[Chunk]) -> None:
        """Watch what was submitted."""
        for chunk in chunks:
            self.queue.cluster = self.submission.cluster
            self.queue.soon(self.queue.shortest)
            for key, index in chunk.tasks.items():
                self.places[index] = (chunk, key)
                self.watches[index] = Watch()

    def _read_results(self) -> None:
        """Result files first: they need no controller. One listing a folder, however many tasks."""
        now = time.monotonic()
        if now < self.read_at:
            return
        self.read_at = now + RESULT_SECONDS
        listings: dict[Path, set[str]] = {}
        for index, watch in self.watches.items():
            path = self.tasks[index].result
            if path.parent not in listings:
                try:
                    listings[path.parent] = set(os.listdir(path.parent))
                except OSError:
                    listings[path.parent] = set()
            if path.name in listings[path.parent] or watch.result:
                before = watch.result
                watch.see_result(own_result(self.tasks[index], self.places[index][0]), now)
                if watch.result != before:
                    self.queue.soon()

    def _see_queue(self, listed: list[Sighting]) -> None:
        """Take in an answer of squeue."""
        now = time.monotonic()
        self._take(self.sender.see_queue(listed))
        arrays = {sighting.array for sighting in listed}
        by_place = {(sighting.array, sighting.key): sighting for sighting in listed}
        for index, watch in self.watches.items():
            chunk, key = self.places[index]
            sighting = by_place.get(chunk.place(key))
            if sighting is None:
                watch.see_missing(now, siblings=chunk.job_id in arrays)
                continue
            if watch.state != sighting.state:
                self.queue.soon(self.queue.shortest)
            requeues = watch.requeues
            watch.see(sighting.state, sighting.reason, now, self.queue.started)
            if watch.requeues > requeues:
                self.progress.say(f"{self._label(index)} was requeued by Slurm")

    def _judge_all(self) -> None:
        now = time.monotonic()
        for index, watch in list(self.watches.items()):
            if index in self.given_up and not watch.result and (watch.missing or watch.state == "CANCELLED"):
                del self.watches[index]
                self.not_started += 1
                continue
            verdict = judge(watch, now)
            if verdict.kind == "wait":
                continue
            del self.watches[index]
            if verdict.kind == "done":
                self.done.add(index)
            elif verdict.cause == NO_RESULT:
                chunk, key = self.places[index]
                self.failed[index] = from_slurm(slurm_client.exit_code(chunk.label(key), self.queue.cluster))
            elif verdict.kind == "failed":
                self.failed[index] = verdict.cause
            else:
                self._run_again(index, watch, str(verdict.cause))

    def _run_again(self, index: int, watch: Watch, cause: str) -> None:
        chunk, key = self.places[index]
        if watch.state not in ENDED:  # it may be held, or live on unseen
            slurm_client.cancel([chunk.label(key)], self.queue.cluster)
        result = watch.result
        if not (result and result.exit_code == REQUEUE and result.seconds >= PROGRESS_SECONDS):
            self.retries[index] += 1
        allowed = self.request.number("retries", RETRIES)
        if self.retries[index] > allowed:
            self.failed[index] = f"{cause}; given up after {allowed} retries"
            return
        self.again[index] = chunk.attempts[index] + 1
        counted = f" (retry {self.retries[index]} of {allowed})" if self.retries[index] else ""
        self.progress.say(f"{self._label(index)}: {cause}; submitted again{counted}")

    def _label(self, index: int) -> str:
        chunk, key = self.places[index]
        return (
            f"task {index} (job {chunk.label(key)})" if self.request.variable else f"job {chunk.label(key)}"
        )

    def _give_up_if_hopeless(self) -> None:
        """Cancel what waits when all that ran failed."""
        running = sum(watch.running for watch in self.watches.values())
        waiting = {index for index, watch in self.watches.items() if not watch.running} - self.given_up
        unsent = self.sender.unsent
        if self.done or len(self.failed) < max(HOPELESS, running) or not (waiting or unsent or self.again):
            return
        self.not_started += len(self.again) + sum(len(chunk.tasks) for chunk in unsent)
        unsent.clear()
        self.again.clear()
        jobs = {self.places[index][0].job_id for index in waiting}
        if jobs:
            slurm_client.cancel(jobs, self.queue.cluster, pending_only=True)
            self.given_up |= waiting
            self.queue.soon()

    def _show(self) -> None:
        running = sum(watch.running and not watch.result for watch in self.watches.values())
        reasons = Counter(watch.reason for watch in self.watches.values() if watch.state == "PENDING")
        reasons.pop("None", None)
        self.progress.note = "" if running or not reasons else f"waiting: {reasons.most_common(1)[0][0]}"
        self.progress.update(len(self.done), running, len(self.failed))

    # -- ending

    def _cancel_jobs(self) -> str:
        """scancel what has not ended; the command to repeat by hand if Slurm does not answer, else ''."""
        jobs = {self.places[index][0].job_id for index in self.watches}
        doubtful = self.sender.doubtful_scripts()
        deadline = time.monotonic() + CANCEL_SECONDS
        if doubtful:
            for sighting in self.queue.wait(lambda: time.monotonic() > deadline or self.signals > 1):
                jobs |= {sighting.array} if sighting.script in doubtful else set()
        while jobs and not slurm_client.cancel(jobs, self.queue.cluster):
            if time.monotonic() > deadline or self.signals > 1:
                return " ".join(["scancel", *slurm_client.cluster_words(self.queue.cluster), *sorted(jobs)])
            time.sleep(2)
        return ""

    def _cancel(self) -> int:
        stopped = len(self.watches)
        left = self._cancel_jobs()
        if not left:
            self.submission.close(success=False)
        name = signal.Signals(self.signal).name
        lines = [
            f"\n{self.request.name}: cancelled by {name}: {len(self.done)} of {len(self.tasks)} tasks done,"
            f" {stopped} queued or running ones cancelled"
        ]
        if left:
            lines.append(f"but Slurm does not answer: cancel them yourself with: {left}")
        lines.append("to resume: run the same command again; finished tasks are kept")
        print("\n".join(lines), file=sys.stderr)
        return 128 + self.signal

    def _finish(self) -> int:
        if len(self.tasks) > 1 or self.progress.terminal:
            self.progress.update(len(self.done), 0, len(self.failed), last=True)
        if not self.failed:
            self.submission.close(success=True)
            return 0
        outputs = {index: self.places[index][0].output(self.places[index][1]) for index in self.failed}
        text = report.failure_report(self.request, self.failed, self.tasks, self.not_started, outputs)
        self.submission.close(success=False)
        print(text, file=sys.stderr)
        return 1


def run_slurm(request: Request, conf: SlurmConf | None = None) -> int:
    """Run a parsed command line on the cluster; the exit code for the shell."""
    return SlurmArray(request, conf or read_slurm_conf()).run()
