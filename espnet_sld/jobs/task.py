"""Run one task: log with a head and a foot, result file, and no process left behind whatever dies.

Started by a back-end as a program of its own, the leader of its process group:
`python task.py --log LOG --result JSON [--parent PID] -- COMMAND…`.

When the parent dies (also by kill -9) or a signal comes, the whole group gets SIGTERM, GRACE seconds to
finish (a training saves its state then), and SIGKILL. The command is run as it is, never by a shell.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

if __package__ in (None, ""):  # run as a file, from any directory
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from espnet_sld.jobs.result import Result, command_digest, explain, shell_code, write_result

GRACE = 5.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(signum: int, parent: int) -> None:
    """Ask the kernel (Linux) for `signum` when the parent dies; leave at once if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signum)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S")


class Stop(Exception):
    """A signal asked the task to end."""

    def __init__(self, signum: int):
        self.signum = signum


def _stop(signum: int, _frame: object) -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # the group's signal reaches us too
    raise Stop(signum)


def _end_group(child: subprocess.Popen, signum: int, grace: float) -> int:
    """Pass the signal on to the whole group; return the command's code once it ended or the grace is over."""
    os.killpg(0, signum)
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return shell_code(child.returncode) or 128 + signum


def _start(command: list[str], log: int) -> subprocess.Popen:
    own = os.getpid()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=lambda: die_with_parent(signal.SIGKILL, own),
    )


def run_task(log_path: Path, result_path: Path, command: list[str], grace: float = GRACE) -> tuple[int, bool]:
    """Run `command`, write its log and result.

    Returns:
        its exit code (128 + n for signal n), and whether a signal to us ended it.
    """
    stopped = False
    host, gpus = platform.node(), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    started = time.time()
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)

    def note(text: str) -> None:
        os.write(log, text.encode("utf-8", "surrogateescape"))

    note(f"# {shlex.join(command)}\n# Started at {_now()} on {host}")
    note(f", GPU {gpus}\n#\n" if gpus else "\n#\n")
    try:
        try:
            child = _start(command, log)
        except FileNotFoundError:
            note(f"{command[0]}: command not found\n")
            code = 127
        except OSError as error:
            note(f"{command[0]}: {error.strerror}\n")
            code = 126
        else:
            code = 0
            try:
                code = shell_code(child.wait())
            except Stop as stop:
                stopped = True
                code = _end_group(child, stop.signum, grace)
    except Stop as stop:  # before the command ran
        stopped = True
        code = 128 + stop.signum
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # the result is to be written in any case
    ended = time.time()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = Result(
        exit_code=code,
        host=host,
        seconds=round(ended - started, 3),
        started=round(started, 3),
        ended=round(ended, 3),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
        peak_memory_mib=round(usage.ru_maxrss / 1024, 1),
        command=command,
        command_digest=command_digest(command),
        gpus=gpus,
    )
    note(f"# Accounting: {result.cpu_seconds} CPU seconds, peak memory {result.peak_memory_mib} MiB\n")
    note(f"# Ended ({explain(code)}) at {_now()}, elapsed {result.seconds} seconds\n")
    os.close(log)
    write_result(result_path, result)
    return code, stopped


def main(argv: list[str] | None = None) -> tuple[int, bool]:
    """Parse, run; (exit code, whether a signal ended it)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="end when this process ends")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args(argv)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _stop)
    try:
        if options.parent is not None:
            die_with_parent(signal.SIGTERM, options.parent)
        return run_task(options.log, options.result, options.command, options.grace)
    except Stop as stop:
        return 128 + stop.signum, True
    except OSError as error:
        print(f"error: {error.filename or options.log}: {error.strerror}", file=sys.stderr)
        return 1, False


if __name__ == "__main__":
    code, stopped = main()
    # What the command left in the background would run on unseen: end it. After a stop there was a grace
    # already, and nobody may be left to do it for us, so the group is killed and this process with it.
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGKILL if stopped else signal.SIGTERM)
    sys.exit(code)
