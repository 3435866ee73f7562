"""Run one task: log with a head and a foot, result file, and no process left behind whatever dies.

Started by a back-end as a program of its own, the leader of its process group:
`python task.py --log LOG --result JSON [--parent PID | --until-eof] -- COMMAND…`.

When the parent dies (also by kill -9) or a signal comes, the whole group gets it, `--grace` seconds to
finish (a training saves its state then), and SIGKILL. USR1 and USR2, a cluster's warnings, go to the
command alone. The command is run as it is, never by a shell.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import resource
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

if __package__ in (None, ""):  # run as a file, from any directory
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from espnet_sld.jobs.result import REQUEUE, Result, command_digest, explain, shell_code, write_result

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
GRACE = 5.0
CHECK_SECONDS = 5.0  # between two calls of `still_ours`
PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
PASSED_ON = {signal.SIGUSR1, signal.SIGUSR2}
WATCHED = STOPPING | PASSED_ON | {signal.SIGCHLD}


@dataclass(frozen=True)
class Starter:
    """A command that only starts processes elsewhere (srun): what it does not tell by itself, and takes ill.

    `stop_with` is the signal it gets in place of a stopping one for the whole group; `wants_another_run` is
    asked when it ended with 0, and True makes that `REQUEUE`.
    """

    stop_with: int
    wants_another_run: Callable[[], bool]


class Abandoned(Exception):
    """The task has been taken over by another run: this one ended its command and leaves no result."""


def watch_signals() -> None:
    """Block the signals that `run_task` waits for; from now on they stay until it takes them."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited as ignored, it would never come
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)


def die_with_parent(signum: int, parent: int) -> None:
    """Ask the kernel (Linux) for `signum` when the parent dies; leave at once if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signum)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def start(command: list[str], log: int | None = None) -> subprocess.Popen:
    """Start a command that hears signals again and dies with this process; `log`: where its output goes."""
    own = os.getpid()

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        die_with_parent(signal.SIGKILL, own)

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=prepare)


def _wait(
    child: subprocess.Popen, grace: float, still_ours: Callable[[], bool] | None, starter: Starter | None
) -> tuple[int, int]:
    """Wait for the command; (its code, the signal that stopped it or 0)."""
    stopped_by, deadline = 0, float("inf")
    tick = CHECK_SECONDS if still_ours else 3600.0
    while child.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            child.kill()
            child.wait()
            break
        event = signal.sigtimedwait(WATCHED, min(tick, left))
        if event is None:
            if still_ours and not still_ours():
                os.killpg(0, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(min(grace, GRACE))
                child.kill()
                child.wait()
                raise Abandoned
        elif event.si_signo in PASSED_ON:
            child.send_signal(event.si_signo)
        elif event.si_signo in STOPPING and not stopped_by:  # the group's signal reaches us too
            stopped_by, deadline = event.si_signo, time.monotonic() + grace
            if starter:
                child.send_signal(starter.stop_with)
            else:
                os.killpg(0, stopped_by)
    code = shell_code(child.returncode)
    if code and not stopped_by:  # a signal to the whole group may have ended the command before it came to us
        event = signal.sigtimedwait(STOPPING, 0.2)
        stopped_by = event.si_signo if event else 0
    return code or (128 + stopped_by if stopped_by else 0), stopped_by


def run_task(
    log_path: Path,
    result_path: Path,
    command: list[str],
    grace: float = GRACE,
    *,
    append: bool = False,
    facts: Result | None = None,
    still_ours: Callable[[], bool] | None = None,
    starter: Starter | None = None,
) -> Result:
    """Run `command`, write its log and result. Call `watch_signals` before.

    Args:
        grace: seconds between a stopping signal and SIGKILL.
        append: keep what the log has: an earlier attempt of the same task.
        facts: fields to take over into the result (host, submission, attempt, job).
        still_ours: asked every few seconds; False ends the command.
        starter: the command's work is done by other processes, whose CPU time and memory are not known.

    Raises:
        Abandoned: `still_ours` said no.
    """
    facts = facts or Result(0, host=platform.node())
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    started = time.time()
    mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if append else os.O_TRUNC)
    log = os.open(log_path, mode, 0o644)

    def note(text: str) -> None:
        with contextlib.suppress(OSError):  # the disk is full: the result is tried all the same
            os.write(log, text.encode("utf-8", "surrogateescape"))

    note(f"# {shlex.join(command)}\n# Started at {_now()} on {facts.host}")
    note(f", job {facts.job}" if facts.job else "")
    note(f", GPU {gpus}\n#\n" if gpus else "\n#\n")
    stopped_by = returned = 0
    try:
        child = start(command, log)
    except FileNotFoundError:
        note(f"{command[0]}: command not found\n")
        code = 127
    except OSError as error:
        note(f"{command[0]}: {error.strerror}\n")
        code = 126
    else:
        try:
            code, stopped_by = _wait(child, grace, still_ours, starter)
        except Abandoned:
            note(f"# Ended at {_now()}: another run of this task has begun\n")
            raise
        returned = child.returncode
        if returned == 0 and starter and starter.wants_another_run():
            code = REQUEUE
    ended = time.time()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = replace(
        facts,
        exit_code=code,
        seconds=round(ended - started, 3),
        started=round(started, 3),
        ended=round(ended, 3),
        cpu_seconds=0.0 if starter else round(usage.ru_utime + usage.ru_stime, 3),
        peak_memory_mib=0.0 if starter else round(usage.ru_maxrss / 1024, 1),
        command=command,
        command_digest=command_digest(command),
        gpus=gpus,
        signal=max(0, -returned),
        stopped_by=stopped_by,
    )
    if not starter:
        note(f"# Accounting: {result.cpu_seconds} CPU seconds, peak memory {result.peak_memory_mib} MiB\n")
    note(f"# Ended ({explain(code)}) at {_now()}, elapsed {result.seconds} seconds\n")
    os.close(log)
    write_result(result_path, result)
    return result


def leave(code: int, stopped: bool) -> None:
    """Exit, and end what the command left in the background: it would run on unseen.

    After a stop there was a grace already, and nobody may be left to do it for us, so the group is killed
    and this process with it.
    """
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL if stopped else signal.SIGTERM)  # TERM is blocked here
    sys.exit(code)


def end_at_eof() -> bool:
    """For `still_ours`: True, but where the standard input is at its end (ssh is gone), stop as by TERM."""
    if select.select([0], [], [], 0)[0] and not os.read(0, 4096):
        os.kill(os.getpid(), signal.SIGTERM)
    return True


def main(argv: list[str] | None = None) -> None:
    """Parse, run, exit with the command's code."""
    watch_signals()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="end when this process ends")
    parser.add_argument("--until-eof", action="store_true", help="end when the standard input does")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--append", action="store_true", help="keep what the log has")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args(argv)
    try:
        if options.until_eof and os.getpgrp() != os.getpid():
            os.setpgrp()  # what is signalled as our group is not to be the login shell
        if options.parent is not None:
            die_with_parent(signal.SIGTERM, options.parent)
        result = run_task(
            options.log,
            options.result,
            options.command,
            options.grace,
            append=options.append,
            still_ours=end_at_eof if options.until_eof else None,
        )
    except OSError as error:
        print(f"error: {error.filename or options.log}: {error.strerror}", file=sys.stderr)
        leave(1, False)
    else:
        leave(result.exit_code, bool(result.stopped_by))


if __name__ == "__main__":
    main()
