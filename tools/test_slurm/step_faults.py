"""Faults of tasks on two nodes, as trainings are: one srun step with a process on each."""

from __future__ import annotations

from cases import case, done_again, is_over, reported
from workbench import Bench, Row, kill, wait_for

# The second process of a task: of the second task's first run it waits until it is told to stop.
SECOND = (
    'if [ "$SLURM_PROCID" = 1 ]; then trap "exit 85" USR1 TERM; echo $$ >> other.JOB;'
    " while [ JOB = 2 ] && [ $(wc -l < other.JOB) = 1 ]; do sleep 0.1; done; exit 0; fi; "
)
FIRST = (
    "trap 'exit 85' USR1 TERM; for i in $(seq 3000); do [ JOB = 1 ] && break;"
    ' [ "$(grep -c begin runs.JOB)" -gt 1 ] && break; sleep 0.1; done'
)
SAID = "saved its state and asks to be run again; submitted again"


def _begin(bench: Bench, *options: str):
    """The submitter, and the job of the second task, whose processes both run."""
    submitter = bench.submit(FIRST, "--num-nodes", "2", *options, before=SECOND)
    bench.started(2)
    wait_for((bench.folder / "other.2").exists, "the second process")
    return submitter, bench.job(2)


@case(quick=True)
def step_asked_to_stop(bench: Bench) -> Row:
    """USR1 to a task on two nodes: its processes save and end with code 85"""
    submitter, job = _begin(bench)
    watcher = bench.watch(job, is_over)
    bench.cluster.command("scancel", "--batch", "--signal=USR1", job)
    return done_again(
        bench, submitter, step_asked_to_stop.__doc__, watcher, SAID, "submitted again at once, done"
    )


@case()
def step_preempted(bench: Bench) -> Row:
    """a task on two nodes pre-empted; its processes save on TERM and end with code 85"""
    submitter, job = _begin(bench, "--num-threads", str(bench.cluster.cpus))
    # FAILED: it ended within the grace time
    watcher = bench.watch(job, lambda state: is_over(state) and state != "SIGNALING")
    urgent = ["sbatch", "-p", "urgent", "-N2", "-c", str(bench.cluster.cpus), "--output=/dev/null"]
    bench.cluster.command(*urgent, "--wrap", "sleep 10")
    outcome = "submitted again, done when there was room"
    return done_again(bench, submitter, step_preempted.__doc__, watcher, SAID, outcome)


@case(quick=True)
def step_process_killed(bench: Bench) -> Row:
    """one of a task's processes on two nodes killed −9"""
    submitter, job = _begin(bench)
    watcher = bench.watch(job, is_over)
    kill(int((bench.folder / "other.2").read_text()))
    return reported(bench, submitter, step_process_killed.__doc__, watcher, "code 137")
