"""Faults of tasks and of their nodes: each case breaks one thing and says what the submitter made of it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from cases import case, done_again, is_over, reported
from processes import alive, descendants, step_daemons
from workbench import Bench, Row, kill

LONG = "[ JOB = 1 ] || sleep 300"  # the second task waits for its fault
TWICE = "[ JOB = 1 ] || [ $(grep -c begin runs.JOB) -gt 1 ] || sleep 300"  # … and a second run of it does not


@case(quick=True)
def command_killed(bench: Bench) -> Row:
    """a task's command killed −9"""
    submitter = bench.submit(LONG)
    pid = bench.started(2)
    watcher = bench.watch(bench.job(2), is_over)
    kill(pid)
    return reported(bench, submitter, command_killed.__doc__, watcher, "code 137")


@case(quick=True)
def batch_killed(bench: Bench) -> Row:
    """a task's batch process killed −9 (no result file)"""
    submitter = bench.submit(LONG)
    pid = bench.started(2)
    watcher = bench.watch(bench.job(2), is_over)
    kill(int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]))
    return reported(bench, submitter, batch_killed.__doc__, watcher, "code 137")


@case(quick=True)
def cancelled(bench: Bench) -> Row:
    """a task cancelled (scancel by the user)"""
    submitter = bench.submit(LONG)
    bench.started(2)
    job = bench.job(2)
    watcher = bench.watch(job, is_over)
    bench.cluster.command("scancel", job)
    return reported(bench, submitter, cancelled.__doc__, watcher, "cancelled, not by this command")


@case(quick=True)
def cancelled_pending(bench: Bench) -> Row:
    """a waiting task cancelled (Slurm forgets it at once)"""
    submitter = bench.submit("sleep 12", "--max-jobs-run", "1")
    bench.started(1)
    bench.cluster.command("scancel", bench.job(2))
    when = time.time()
    row = reported(bench, submitter, cancelled_pending.__doc__, None, "cancelled, not by this command")
    row.slurm, row.seconds = "(nothing)", round(submitter.ended - when, 1)
    return row


@case()
def time_limit(bench: Bench) -> Row:
    """a task over its time limit"""
    submitter = bench.submit(LONG, "--time", "1")
    bench.started(2)
    watcher = bench.watch(bench.job(2), is_over)
    return reported(bench, submitter, time_limit.__doc__, watcher, "over its time limit", 240)


@case(cgroup=True, quick=True)
def out_of_memory(bench: Bench) -> Row:
    """a task out of memory (control groups)"""
    hungry = '[ JOB = 1 ] || { sleep 8; python3 -c "x = bytearray(500 << 20)"; kill -9 $$; }'
    submitter = bench.submit(hungry, "--mem", "60M")
    bench.started(2)
    watcher = bench.watch(bench.job(2), is_over)
    return reported(bench, submitter, out_of_memory.__doc__, watcher, "out of memory")


@case()
def slurmd_killed(bench: Bench) -> Row:
    """a node's slurmd killed −9, its task running on; Slurm requeues"""
    return _node_fails(bench, slurmd_killed.__doc__, [], everything=False)


@case()
def slurmd_killed_no_requeue(bench: Bench) -> Row:
    """a node's slurmd killed −9, jobs submitted with --no-requeue"""
    return _node_fails(bench, slurmd_killed_no_requeue.__doc__, ["--no-requeue"], everything=False)


@case()
def node_lost(bench: Bench) -> Row:
    """a whole node lost: slurmd and all its jobs' processes killed −9"""
    return _node_fails(bench, node_lost.__doc__, ["--no-requeue"], everything=True)


def _node_fails(bench: Bench, fault: str, sbatch: list[str], *, everything: bool) -> Row:
    config = bench.folder / "sbatch.conf"
    config.write_text(" ".join(["command sbatch", *sbatch]) + "\noption name=* --job-name $0\n")
    submitter = bench.submit(TWICE, "--config", str(config))
    pid = bench.started(2)
    job = bench.job(2)
    node = bench.node(job)
    watcher = bench.watch(job, lambda state: state not in {"RUNNING", "COMPLETING"})
    steps = [step for step in step_daemons(bench.cluster.folder) if pid in descendants(step)]
    bench.cluster.signal_daemon(node, signal.SIGKILL)
    if everything:
        for step in steps:
            for process in [*descendants(step), step]:
                kill(process)
    try:
        if sbatch:
            said, outcome = "its node failed; submitted again", "submitted again on the other node, done"
        else:
            said, outcome = "was requeued by Slurm", "Slurm began it anew after its 2 min delay, done"
        row = done_again(bench, submitter, fault, watcher, said, outcome)
        begins = [run for run in bench.runs(2) if run[0] == "begin"]
        assert len(begins) == 2, f"runs: {bench.runs(2)}"
        assert not alive(pid), "the first run was still at work"
        return row
    finally:
        bench.cluster.start_daemon(node)


@case(quick=True)
def asked_to_stop(bench: Bench) -> Row:
    """USR1 (a time limit or pre-emption comes): the command saves and ends with code 85"""
    body = "trap 'exit 85' USR1; for i in $(seq 3000); do [ JOB = 2 ] && [ $(grep -c begin runs.JOB) = 1 ]"
    submitter = bench.submit(body + " && sleep 0.1; done")
    bench.started(2)
    job = bench.job(2)
    watcher = bench.watch(job, is_over)
    bench.cluster.command("scancel", "--batch", "--signal=USR1", job)
    said = "saved its state and asks to be run again; submitted again"
    return done_again(bench, submitter, asked_to_stop.__doc__, watcher, said, "submitted again at once, done")


@case()
def preempted(bench: Bench) -> Row:
    """pre-empted, the partition's jobs being cancelled then"""
    outcome = "submitted again, done when there was room"
    return _preempted(bench, preempted.__doc__, "cpu", "it was pre-empted; submitted again", outcome)


@case()
def preempted_saving(bench: Bench) -> Row:
    """pre-empted; the command saves on TERM and ends with code 85"""
    said, outcome = "asks to be run again; submitted again", "submitted again, done when there was room"
    return _preempted(bench, preempted_saving.__doc__, "cpu", said, outcome, "trap 'exit 85' TERM; ")


@case()
def preempted_requeued(bench: Bench) -> Row:
    """pre-empted, the partition's jobs being requeued then"""
    outcome = "said so; Slurm began it anew, done"
    return _preempted(bench, preempted_requeued.__doc__, "gpu", "was requeued by Slurm", outcome)


def _preempted(bench: Bench, fault: str, partition: str, said: str, outcome: str, trap: str = "") -> Row:
    body = (
        f"{trap}[ JOB = 1 ] || for i in $(seq 3000); do [ $(grep -c begin runs.JOB) = 1 ] && sleep 0.1; done"
    )
    submitter = bench.submit(body, "--partition", partition, "--num-threads", str(bench.cluster.cpus))
    bench.started(2)
    job = bench.job(2)
    watcher = bench.watch(job, lambda state: state in {"PREEMPTED", "PENDING"})
    node = bench.node(job)
    urgent = ["sbatch", "-p", "urgent", "-w", node, "-c", str(bench.cluster.cpus), "--output=/dev/null"]
    bench.cluster.command(*urgent, "--wrap", "sleep 10")
    return done_again(bench, submitter, fault, watcher, said, outcome)
