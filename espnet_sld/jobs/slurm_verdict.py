"""What became of a task on a cluster, judged from its result file and from squeue: no Slurm needed here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from espnet_sld.errors import REQUEUE
from espnet_sld.jobs.result import Result, explain

ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
NOT_ITS_FAULT = {
    "BOOT_FAIL": "its node did not boot",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "it was pre-empted",
    "REVOKED": "another cluster took the job back",
}
LATE_SECONDS = 4.0  # a result file may be seen later than Slurm's word on a shared file system
LATE_SUCCESS_SECONDS = 60.0  # … and where Slurm says all went well, we wait longer
UNCLEAR_SECONDS = 30.0  # a command ended by a signal: so long for Slurm's word on why
LOST_ANSWERS = 3  # squeue answers in a row that do not list the job …
LOST_SECONDS = 10.0  # … over at least so long
HELD = re.compile(r"launch.failed", re.I)


@dataclass
class Watch:
    """What is known of one submitted run of a task; times in seconds of one clock, None: not yet.

    `state` and `reason` are squeue's last; `missing` counts its answers in a row without the job, `requeues`
    how often Slurm itself began it anew.
    """

    result: Result | None = None
    result_since: float | None = None
    state: str = ""
    reason: str = ""
    ended_since: float | None = None
    missing: int = 0
    missing_since: float | None = None
    requeues: int = 0
    _waits_again: bool = False
    _earlier: Result | None = None  # of a run before Slurm requeued it

    @property
    def running(self) -> bool:
        """Whether it is on a node now."""
        return self.state in {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED"}

    def see_result(self, result: Result | None, now: float) -> None:
        """Take in what the result file says; None: there is none."""
        if result == self._earlier:
            result = None
        if result != self.result:
            self.result, self.result_since = result, now if result else None

    def see(self, state: str, reason: str, now: float, asked: float) -> None:
        """Take in a line of squeue, which was asked at `asked`."""
        self.missing, self.missing_since = 0, None
        if state not in ENDED:
            self.ended_since = None
        elif self.ended_since is None:
            self.ended_since = now
        if state in {"PENDING", "REQUEUED"}:
            # It ran, and waits to run again. A result that is newer than the question is none of that.
            ended = self.result_since is not None and self.result_since < asked
            if self.running or (ended and not self._waits_again):
                self.requeues += 1
                self._waits_again = True
            if ended:
                self._earlier, self.result, self.result_since = self.result, None, None
        self.state, self.reason = state, reason
        if self.running:
            self._waits_again = False

    def see_missing(self, now: float, *, siblings: bool) -> None:
        """squeue answered and did not list the job; `siblings`: but others of its array.

        Slurm forgets an element that is cancelled before it starts, and lists for long what ran.
        """
        self.missing += 1
        if self.missing_since is None:
            self.missing_since = now
        if siblings and self.missing >= 2 and self.state in {"", "PENDING"}:
            self.state, self.ended_since = "CANCELLED", now


@dataclass(frozen=True)
class Verdict:
    """`kind` is wait, done, failed (by itself) or again (not its fault, or it asks for it)."""

    kind: str
    cause: int | str = 0


WAIT, DONE = Verdict("wait"), Verdict("done")
CANCELLED = Verdict("failed", "cancelled, not by this command")
NO_RESULT = "it left no result"  # Slurm has the batch script's exit code: `from_slurm`


def from_slurm(exit_code: str) -> str:
    """The cause where there is no result file, from scontrol's ExitCode, `code:signal`."""
    code, _, signum = exit_code.partition(":")
    if not (code.isdigit() and signum.isdigit()):
        return NO_RESULT
    if int(signum) >= 32:
        return f"{NO_RESULT}: Slurm could not start it, exit code {exit_code}"
    return f"{explain(128 + int(signum) if int(signum) else int(code))}, {NO_RESULT}"


def judge(watch: Watch, now: float) -> Verdict:
    """What to do about a task. The result file speaks first; who stopped it, only Slurm knows."""
    result = watch.result
    ended = watch.state in ENDED
    lost = (
        watch.missing >= LOST_ANSWERS
        and watch.missing_since is not None
        and now - watch.missing_since >= LOST_SECONDS
    )
    if result is None:
        return _judge_without_result(watch, now, ended, lost)
    if result.exit_code == 0:
        return DONE
    own = not result.stopped_by and result.exit_code != REQUEUE
    if own and result.exit_code < 128:
        return Verdict("failed", result.exit_code)
    if ended:
        return _by_state(watch.state, result)
    if lost and (result.stopped_by or result.exit_code == REQUEUE):
        return Verdict("again", "it was stopped, and Slurm no longer knows the job")
    if own and watch.result_since is not None and now - watch.result_since >= UNCLEAR_SECONDS:
        return Verdict("failed", result.exit_code)
    return WAIT  # still in the queue: perhaps Slurm itself runs it again


def _judge_without_result(watch: Watch, now: float, ended: bool, lost: bool) -> Verdict:
    if ended and watch.ended_since is not None:
        late = LATE_SUCCESS_SECONDS if watch.state == "COMPLETED" else LATE_SECONDS
        return WAIT if now - watch.ended_since < late else _by_state(watch.state, None)
    if watch.state == "SPECIAL_EXIT" or (watch.state == "PENDING" and HELD.search(watch.reason)):
        return Verdict("again", f"Slurm could not start it and holds it ({watch.reason})")
    if lost:
        return Verdict("again", "Slurm no longer knows the job, and it left no result")
    return WAIT


def _by_state(state: str, result: Result | None) -> Verdict:
    """The verdict on a job that ended, by Slurm's word."""
    if state == "CANCELLED":
        return CANCELLED
    if result and result.exit_code == REQUEUE:
        return Verdict("again", "it saved its state and asks to be run again")
    if state in NOT_ITS_FAULT:
        return Verdict("again", NOT_ITS_FAULT[state])
    if state == "TIMEOUT":
        return Verdict("failed", "over its time limit: ask for more with --time")
    if state == "DEADLINE":
        return Verdict("failed", "its deadline passed")
    if state == "OUT_OF_MEMORY":
        used = f", {result.peak_memory_mib:.0f} MiB used" if result and result.peak_memory_mib else ""
        return Verdict("failed", f"out of memory{used}: ask for more with --mem")
    if result:
        where = ", told to stop from outside" if result.stopped_by else ""
        return Verdict("failed", explain(result.exit_code) + where)
    if state == "COMPLETED":
        return Verdict(
            "failed",
            "Slurm says it completed, but its result file did not appear:"
            " do the compute nodes see this directory?",
        )
    return Verdict("failed", NO_RESULT)
