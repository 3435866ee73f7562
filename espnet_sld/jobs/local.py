"""Run an array of tasks as processes of this machine."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.errors import REQUEUE, InputError
from espnet_sld.jobs import report
from espnet_sld.jobs import task as task_runner
from espnet_sld.jobs.arguments import Request, Task, prepare
from espnet_sld.jobs.result import Result, command_digest, read_result, shell_code, write_result

POLL_SECONDS = 0.05
# So many failures and no success: the cause is common to all, the rest need not be tried.
HOPELESS = 3
RETRIES = 3
PROGRESS_SECONDS = 60.0


def count_cores() -> int:
    """Cores this process may use: its affinity, and a container's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup 2, or "max"
        pass
    return max(cores, 1)


def visible_gpus() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES: those already set, else all that the driver lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in {"", "-1"}]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError:
        return []
    lines = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))] if listing.returncode == 0 else []


@dataclass
class Running:
    """A task at work; `places` are its GPUs, or its machine."""

    task: Task
    process: subprocess.Popen
    places: list[str]
    started: float = field(default_factory=time.time)


class LocalArray:
    """Runs a request's tasks, at most so many at once; owns their processes and GPUs."""

    late = 2.0  # seconds beyond their grace that tasks are waited for

    def __init__(self, request: Request):
        if request.number("num_nodes", 1) > 1:
            raise InputError(
                f"{request.name}: --num-nodes {request.options['num_nodes']} needs a cluster:"
                " cmd_backend=slurm; one machine runs several processes with --gpu"
            )
        self.request = request
        self.threads = request.number("num_threads", 1)
        self.gpus_per_task = request.number("gpu", 0)
        self.free: list[str] = []  # places that no task has
        self.limit = self._count_places()
        self.tasks = {task.index: task for task in request.tasks()}
        self.waiting = list(self.tasks.values())
        self.running: list[Running] = []
        self.done = 0
        self.failed: dict[int, int] = {}
        self.restarts: dict[int, int] = {}
        self.signal = 0

    def _count_places(self) -> int:
        """How many tasks may run at once; fills `free`."""
        cores = self.request.number("max_jobs_run", max(1, count_cores() // self.threads))
        if not self.gpus_per_task:
            return cores
        self.free = visible_gpus()
        if self.gpus_per_task > len(self.free):
            raise InputError(
                f"{self.request.name}: --gpu {self.gpus_per_task} asked for, {len(self.free)} GPU(s) visible;"
                " see nvidia-smi and CUDA_VISIBLE_DEVICES, or run with --gpu 0 (recipes: --ngpu 0)"
            )
        return min(cores, len(self.free) // self.gpus_per_task)

    def run(self) -> int:
        """Run all; 0 if every task succeeded, 1 if not, 128 + n after signal n."""
        prepare(self.tasks.values())
        self._catch_signals()
        progress = report.ProgressLine(self.request.name, len(self.tasks))
        while (self.waiting or self.running) and not self.signal:
            while self.waiting and len(self.running) < self.limit and not self._hopeless():
                self._start(self.waiting.pop(0))
            if not self.running:
                break
            self._collect()
            progress.update(self.done, len(self.running), len(self.failed))
            if self.running:
                time.sleep(POLL_SECONDS)
        if self.signal:
            return self._cancel()
        if len(self.tasks) > 1 or progress.terminal:
            progress.update(self.done, 0, len(self.failed), last=True)
        if self.failed:
            text = report.failure_report(self.request, self.failed, self.tasks, len(self.waiting))
            print(text, file=sys.stderr)
            return 1
        return 0

    def _catch_signals(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signum == signal.SIGHUP and signal.getsignal(signum) == signal.SIG_IGN:
                continue  # nohup: the user wants it to go on
            signal.signal(signum, self._note_signal)

    def _note_signal(self, signum: int, _frame: object) -> None:
        if self.signal:  # asked twice: no grace
            for running in self.running:
                self._signal_group(running, signal.SIGKILL)
        self.signal = signum

    def _hopeless(self) -> bool:
        return not self.done and len(self.failed) >= max(HOPELESS, self.limit)

    def _start(self, task: Task) -> None:
        task.result.unlink(missing_ok=True)  # of the run before, which asked for this one
        environment = dict(os.environ, **dict.fromkeys(task_runner.THREAD_VARIABLES, str(self.threads)))
        environment.setdefault("PYTHONUNBUFFERED", "1")  # so that a log shows what happened until the end
        gpus = [self.free.pop(0) for _ in range(self.gpus_per_task)]
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        runner = self._runner(task, ["--parent", str(os.getpid())])
        process = subprocess.Popen(runner, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        self.running.append(Running(task, process, gpus))

    def _runner(self, task: Task, bond: list[str]) -> list[str]:
        """The words that run a task; `bond`: the runner's option by which it learns of our end."""
        # -S -E: the runner needs no packages and starts faster without looking for them.
        runner = [sys.executable, "-S", "-E", task_runner.__file__, "--log", str(task.log)]
        runner += ["--result", str(task.result), *bond]
        runner += ["--grace", self.request.options.get("grace", str(task_runner.GRACE))]
        return [*runner, *(["--append"] if task.index in self.restarts else []), "--", *task.command]

    def _collect(self) -> None:
        """Take in what ended."""
        for running in list(self.running):
            if not self._ended(running):
                continue
            self.running.remove(running)
            self.free += running.places
            result = read_result(running.task.result) or self._result_of_dead_runner(running)
            if result.exit_code == REQUEUE and self._run_again(running.task, result):
                continue
            if result.exit_code:
                self.failed[running.task.index] = result.exit_code
            else:
                self.done += 1

    def _run_again(self, task: Task, result: Result) -> bool:
        """Whether the task, which saved its state and asked for it, gets another run."""
        if self.signal:
            return False
        quick = result.seconds < PROGRESS_SECONDS  # a long run made progress and does not count
        self.restarts[task.index] = self.restarts.get(task.index, 0) + quick
        if self.restarts[task.index] > self.request.number("retries", RETRIES):
            return False
        print(f"{self.request.name}: task {task.index} asked to be run again", file=sys.stderr)
        self.waiting.insert(0, task)
        return True

    def _ended(self, running: Running) -> bool:
        """Whether the runner ended; what it left in its group is killed before its id can be used again."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, running.process.pid, flags) is None:
            return False
        self._signal_group(running, signal.SIGKILL)
        running.process.wait()
        return True

    def _result_of_dead_runner(self, running: Running) -> Result:
        """The runner was killed, or could not write: we write the result in its place."""
        ended = time.time()
        result = Result(
            exit_code=shell_code(running.process.returncode) or 1,
            host=platform.node(),
            seconds=round(ended - running.started, 3),
            started=round(running.started, 3),
            ended=round(ended, 3),
            command=running.task.command,
            command_digest=command_digest(running.task.command),
            gpus=",".join(running.places),
        )
        with contextlib.suppress(OSError):  # the exit code is what matters; the disk may be full
            write_result(running.task.result, result)
        return result

    def _signal_group(self, running: Running, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(running.process.pid, signum)

    def _cancel(self) -> int:
        """End every task: SIGTERM, a grace, SIGKILL."""
        stopped = len(self.running)
        for running in self.running:
            self._signal_group(running, signal.SIGTERM)
        deadline = time.monotonic() + float(self.request.options.get("grace", task_runner.GRACE)) + self.late
        while self.running and time.monotonic() < deadline:
            self._collect()
            time.sleep(POLL_SECONDS)
        for running in self.running:
            self._signal_group(running, signal.SIGKILL)
            running.process.wait()
        name = signal.Signals(self.signal).name
        print(
            f"\n{self.request.name}: cancelled by {name}: {self.done} of {len(self.tasks)} tasks done,"
            f" {stopped} running ones ended\nto resume: run the same command again; finished tasks are kept",
            file=sys.stderr,
        )
        return 128 + self.signal


def run_local(request: Request) -> int:
    """Run a parsed command line on this machine; the exit code for the shell."""
    return LocalArray(request).run()
