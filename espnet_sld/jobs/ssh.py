"""Run an array of tasks on machines reached by ssh, as Kaldi's ssh.pl; they share this directory."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.jobs import task as task_runner
from espnet_sld.jobs.arguments import Request, Task
from espnet_sld.jobs.local import LocalArray, Running
from espnet_sld.jobs.result import Result, read_result, shell_code

MACHINES = Path(".queue/machines")
LOST = 255  # ssh's own exit code
# No questions; a machine that does not answer three times (ssh's default) is lost.
OPTIONS = [
    "-T",
    "-oBatchMode=yes",
    "-oConnectTimeout=10",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=3",
]


class SshArray(LocalArray):
    """One task a machine at a time; of a machine that is named twice, two. Tasks see all its GPUs."""

    late = 2.0 + task_runner.CHECK_SECONDS

    def _count_places(self) -> int:
        try:
            lines = MACHINES.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(f"{MACHINES}: {error.strerror}; write the machines' names there") from None
        self.free = [name for line in lines if (name := line.partition("#")[0].strip())]
        if not self.free or any(name.startswith("-") or len(name.split()) > 1 for name in self.free):
            raise InputError(f"{MACHINES}: expected a machine a line, as ssh takes it: NAME or USER@NAME")
        return min(self.request.number("max_jobs_run", len(self.free)), len(self.free))

    def _start(self, task: Task) -> None:
        task.result.unlink(missing_ok=True)  # an earlier run's
        machine = self.free.pop(0)
        variables = [f"{name}={self.threads}" for name in task_runner.THREAD_VARIABLES]
        runner = ["env", *variables, "PYTHONUNBUFFERED=1", *self._runner(task, ["--until-eof"])]
        script = f"cd {shlex.quote(os.getcwd())} || exit 1; [ ! -f path.sh ] || . ./path.sh; exec "
        words = ["ssh", *OPTIONS, machine, shlex.join(["bash", "-c", script + shlex.join(runner)])]
        try:
            process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
        except FileNotFoundError:
            raise InputError("ssh: command not found; install it, or use cmd_backend=local") from None
        self.running.append(Running(task, process, [machine]))

    def _result_of_dead_runner(self, running: Running) -> Result:
        """No result file yet, which another machine wrote: ssh's exit code is the task's."""
        return Result(shell_code(running.process.returncode), host=running.places[0])

    def _ended(self, running: Running) -> bool:
        ended = super()._ended(running)
        if ended and running.process.returncode == LOST and not read_result(running.task.result):
            place = f"{self.request.name}: task {running.task.index}: {running.places[0]}"
            print(f"{place} cannot be reached, or the connection broke", file=sys.stderr)
        return ended

    def _signal_group(self, running: Running, signum: int) -> None:
        """The runner ends its command when its input ends, and has the grace; KILL leaves it to that."""
        if signum == signal.SIGKILL:
            super()._signal_group(running, signum)
        elif not running.process.stdin.closed:
            running.process.stdin.close()


def run_ssh(request: Request) -> int:
    """Run a parsed command line on the machines; the exit code for the shell."""
    return SshArray(request).run()
