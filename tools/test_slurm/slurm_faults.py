"""Faults of the controller and of the submitter; each case says what became of the tasks."""

from __future__ import annotations

import signal
import time

from cases import case
from task_faults import TWICE
from workbench import Bench, Row, wait_for


@case()
def controller_stopped(bench: Bench) -> Row:
    """the controller stopped for 60 s; a task ends meanwhile"""
    submitter = bench.submit("sleep $((JOB * 30))", tasks=3)
    bench.started(1)
    bench.cluster.signal_daemon("slurmctld", signal.SIGSTOP)
    since = time.time()
    noticed = submitter.said("Slurm does not answer", 40)
    time.sleep(max(0.0, since + 60 - time.time()))
    bench.cluster.signal_daemon("slurmctld", signal.SIGCONT)
    answered = submitter.said("Slurm answers again", 60)
    code = submitter.wait(200)
    assert code == 0, f"exit {code}: {submitter.text}"
    outcome = f"said so; went on {answered - since - 60:.1f} s after it came back; all tasks done"
    row = bench.row(controller_stopped.__doc__, outcome, 0.0, None, submitter)
    row.slurm, row.seconds = "(no answer: squeue waits 10 s)", round(noticed - since, 1)
    return row


@case()
def controller_restarted(bench: Bench) -> Row:
    """the controller killed −9 and started again after 20 s"""
    submitter = bench.submit("sleep $((JOB * 20))", tasks=3)
    bench.started(1)
    bench.cluster.signal_daemon("slurmctld", signal.SIGKILL)
    since = time.time()
    noticed = submitter.said("Slurm does not answer", 40)
    time.sleep(max(0.0, since + 20 - time.time()))
    bench.cluster.start_daemon("slurmctld")
    submitter.said("Slurm answers again", 60)
    code = submitter.wait(200)
    assert code == 0, f"exit {code}: {submitter.text}"
    row = bench.row(controller_restarted.__doc__, "said so; all tasks done", 0.0, None, submitter)
    row.slurm, row.seconds = "(no answer)", round(noticed - since, 1)
    return row


@case()
def controller_forgets(bench: Bench) -> Row:
    """the controller loses its state: it no longer knows the jobs"""
    submitter = bench.submit(TWICE)
    bench.started(2)
    bench.cluster.signal_daemon("slurmctld", signal.SIGKILL)
    submitter.said("Slurm does not answer", 40)
    for path in (bench.cluster.folder / "state").iterdir():
        if "job" in path.name:
            path.unlink()
    bench.cluster.start_daemon("slurmctld")
    answered = submitter.said("Slurm answers again", 60)
    noticed = submitter.said("no longer knows the job", 120)
    code = submitter.wait(200)
    assert code == 0, f"exit {code}: {submitter.text}"
    outcome = "submitted again after three answers without it (the lost-job rule), done"
    row = bench.row(controller_forgets.__doc__, outcome, 0.0, None, submitter)
    row.slurm, row.seconds = "(unknown job)", round(noticed - answered, 1)
    return row


@case(quick=True)
def requeued(bench: Bench) -> Row:
    """scontrol requeue"""
    submitter = bench.submit(TWICE)
    bench.started(2)
    job = bench.job(2)
    watcher = bench.watch(job, lambda state: state == "PENDING")
    bench.cluster.command("scontrol", "requeue", job)
    watcher.join(60)
    outcome = "said so; Slurm began it anew, done"
    noticed = submitter.said("was requeued by Slurm", 60)
    bench.cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now")  # else it waits two minutes
    assert submitter.wait(200) == 0, submitter.text
    return bench.row(requeued.__doc__, outcome, noticed, watcher, submitter)


@case(quick=True)
def submitter_killed(bench: Bench) -> Row:
    """the submitter killed −9, the same command started again"""
    body = "[ JOB = 1 ] || sleep 15"
    first = bench.submit(body)
    bench.started(2)
    first.kill()
    second = bench.submit(body)
    noticed = second.said("going on with the interrupted run .* 1 done, 1 queued or running, 0 to submit", 30)
    assert second.wait(100) == 0, second.text
    assert all(len(bench.runs(index)) == 2 for index in (1, 2)), "a task ran twice"
    row = bench.row(submitter_killed.__doc__, "took over its jobs; no task ran twice", 0, None, second)
    row.seconds = round(noticed - first.ended, 1) if first.ended else 0.0
    return row


@case(quick=True)
def submitter_terminated(bench: Bench) -> Row:
    """TERM to the submitter (Ctrl-C and HUP alike)"""
    submitter = bench.submit("sleep 300", "--max-jobs-run", "1")
    bench.started(1)
    since = time.time()
    submitter.signal(signal.SIGTERM)
    code = submitter.wait(60)
    assert code == 143 and "0 of 2 tasks done, 2 queued or running ones cancelled" in submitter.text
    wait_for(lambda: not bench.cluster.command("squeue", "--me", "--noheader"), "an empty queue")
    seconds = round(submitter.ended - since, 1)
    return Row(submitter_terminated.__doc__, "all its jobs cancelled, exit 143", seconds, 0, "CANCELLED")


@case()
def submission_unanswered(bench: Bench) -> Row:
    """sbatch's reply lost: the controller stopped for 30 s during the submission"""
    bench.cluster.signal_daemon("slurmctld", signal.SIGSTOP)
    since = time.time()
    submitter = bench.submit("sleep 5", tasks=3)
    noticed = submitter.said("not submitted yet", 60)
    time.sleep(max(0.0, since + 30 - time.time()))
    bench.cluster.signal_daemon("slurmctld", signal.SIGCONT)
    assert submitter.wait(200) == 0, submitter.text
    begun = [len([run for run in bench.runs(index) if run[0] == "begin"]) for index in (1, 2, 3)]
    assert begun == [1, 1, 1], f"tasks began {begun} times"
    row = bench.row(
        submission_unanswered.__doc__, "found in the queue, not submitted twice", 0, None, submitter
    )
    row.slurm, row.seconds = "(no answer)", round(noticed - since, 1)
    return row
