"""Run one task of a submission on its node; the batch script's last line: `python slurm_task.py SPEC`.

SPEC is the JSON that the submitter wrote (`submission.py`). Which task: SLURM_ARRAY_TASK_ID.

No two runs of a task work at once: a node that lost its slurmd may go on with a task that Slurm has begun
elsewhere. Each run puts its name into a claim file; who finds another's name there ends its command.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

if __package__ in (None, ""):  # run as a file, from any directory
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from espnet_sld.jobs import slurm_step
from espnet_sld.jobs.result import Result
from espnet_sld.jobs.task import (
    CHECK_SECONDS,
    THREAD_VARIABLES,
    Abandoned,
    Starter,
    leave,
    run_task,
    watch_signals,
)

# Slurm itself sends SIGKILL after the site's KillWait or GraceTime; until then a training may save.
GRACE = 24 * 3600.0


class Claim:
    """The right to run a task: a file with the name of the run that has it."""

    def __init__(self, path: Path, name: str):
        self.path, self.name = path, name

    def take(self, wait: float = 2 * CHECK_SECONDS + 1) -> None:
        """Take it; where another run has not given it back, leave that one the time to notice."""
        before = self._holder()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        partial.write_text(self.name, encoding="utf-8")
        os.replace(partial, self.path)
        if before not in ("", self.name):
            time.sleep(wait)

    def held(self) -> bool:
        """Whether nobody took it from us; an unreadable file is no reason to stop."""
        return self._holder() in ("", self.name)

    def give_back(self) -> None:
        """After the end: a later run need not wait."""
        with contextlib.suppress(OSError):
            if self._holder() == self.name:
                self.path.unlink()

    def _holder(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError:
            return ""


def distributed(
    environment: Mapping[str, str], hosts: list[str], gpus: int, marker: Path
) -> tuple[list[str], dict]:
    """Start a command once per GPU (at least once) on every node, by one step of the job.

    Args:
        environment: the batch job's.
        hosts: its nodes.
        gpus: GPUs of each.
        marker: the file that a process makes which wants the job to be run again (slurm_step.py).

    Returns:
        the words to put before the command (srun's, and those of slurm_step.py), and the variables by which
        the processes find each other (torch.distributed's; each process's own rank is SLURM_PROCID, on its
        node SLURM_LOCALID).
    """
    per_node = max(gpus, 1)
    total = per_node * len(hosts)
    # `4(x2),2`: CPUs of the nodes; the fewest decide.
    counts = environment.get("SLURM_JOB_CPUS_PER_NODE", "1").replace("(x", ",x").replace(")", "").split(",")
    cpus = min(int(count) for count in counts if not count.startswith("x"))
    words = ["srun", "--nodes", str(len(hosts)), "--ntasks", str(total), "--ntasks-per-node", str(per_node)]
    words += ["--cpus-per-task", str(max(1, cpus // per_node)), "--kill-on-bad-exit=1", "--export=ALL"]
    if cpus < per_node:
        words.append("--overcommit")
    words += [sys.executable, "-S", "-E", slurm_step.__file__, str(marker)]
    job = int(environment.get("SLURM_JOB_ID", "0"))
    restart = int(environment.get("SLURM_RESTART_COUNT", "0"))
    return words, {
        "MASTER_ADDR": hosts[0],
        "MASTER_PORT": str(20000 + (job + 9973 * restart) % 20000),
        "WORLD_SIZE": str(total),
    }


def _hosts() -> list[str]:
    names = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    return subprocess.run(names, capture_output=True, text=True, check=True).stdout.split()


def run(spec_path: Path) -> int:
    """Run this job's task; its exit code."""
    spec = json.loads(spec_path.read_text(encoding="utf-8"))
    task = spec["tasks"][os.environ.get("SLURM_ARRAY_TASK_ID", "0")]
    restart = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID", "")
    job += "_" + os.environ["SLURM_ARRAY_TASK_ID"] if "SLURM_ARRAY_TASK_ID" in os.environ else ""
    facts = Result(
        0,
        host=os.environ.get("SLURMD_NODENAME") or platform.node(),
        submission=spec["token"],
        attempt=task["attempt"],
        job=job,
    )
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(spec["threads"])))
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    os.environ["SLURM_EXPORT_ENV"] = "ALL"  # sbatch --export=NONE would reach an inner srun
    words = [*spec["wrapper"], *task["command"]]
    marker = Path(spec["claims"]) / f"{task['index']}.{job}.{restart}.again"
    starter = None
    if spec["num_nodes"] > 1:
        starter = Starter(signal.SIGUSR1, marker.exists)  # srun kills its processes on TERM, passes USR1 on
        prefix, variables = distributed(os.environ, _hosts(), spec["gpus"], marker)
        os.environ.update(variables)
        words = [*prefix, *words]
    claim = Claim(Path(spec["claims"]) / str(task["index"]), f"{spec['token']} {job} {restart}")
    claim.take()
    marker.unlink(missing_ok=True)
    result_path = Path(task["result"])
    result_path.unlink(missing_ok=True)
    again = restart > 0 or task["attempt"] > 0
    try:
        result = run_task(
            Path(task["log"]),
            result_path,
            words,
            GRACE,
            append=again,
            facts=facts,
            still_ours=claim.held,
            starter=starter,
        )
    except Abandoned:
        print(f"task {task['index']}: another run has begun; this one ({job}, {restart}) ends", flush=True)
        return 1
    marker.unlink(missing_ok=True)
    claim.give_back()
    return result.exit_code


def main() -> None:
    """Run the task of the spec named on the command line."""
    watch_signals()
    try:
        code = run(Path(sys.argv[1]))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"error: {platform.node()}: {error}", flush=True)
        code = 1
    leave(code, False)  # Slurm ends what is left of the job


if __name__ == "__main__":
    main()
