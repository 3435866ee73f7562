"""utils/slurm.py on a real cluster: cancelled, killed, requeued, and going on."""

import json
import re
import signal
import time

import pytest

pytestmark = pytest.mark.slow


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def queued(cluster) -> list[str]:
    return cluster.command("squeue", "--me", "--noheader", "--array", "-o", "%i").split()


def test_a_cancelled_task_is_reported_and_not_run_again(slurm_py, cluster, tmp_path):
    submitter = slurm_py("JOB=1:2", "c.JOB.log", "bash", "-c", "touch started.JOB; [ JOB = 1 ] || sleep 300")
    wait_for((tmp_path / "started.2").exists)
    cluster.command("scancel", next(job for job in queued(cluster) if job.endswith("_2")))
    assert submitter.wait() == 1
    assert "c: 1 of 2 tasks failed: 2 (cancelled, not by this command)" in submitter.text


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_what_runs_and_what_waits(slurm_py, cluster, tmp_path, signum):
    script = "touch started.JOB; sleep 300"
    submitter = slurm_py("--max-jobs-run", "1", "JOB=1:3", "s.JOB.log", "bash", "-c", script)
    wait_for((tmp_path / "started.1").exists)
    submitter.signal(signum)
    assert submitter.wait() == 128 + signum
    assert f"cancelled by {signum.name}: 0 of 3 tasks done, 3 queued or running ones" in submitter.text
    wait_for(lambda: queued(cluster) == [])


def test_after_kill_9_of_the_submitter_the_same_command_goes_on_without_redoing(slurm_py, cluster, tmp_path):
    script = "echo run >> runs.JOB; while [ JOB = 2 ] && [ ! -e go ]; do sleep 0.1; done"
    command = ["JOB=1:2", "k.JOB.log", "bash", "-c", script]
    first = slurm_py(*command)
    wait_for(lambda: (tmp_path / "k.1.json").exists() and (tmp_path / "runs.2").exists())
    first.kill()
    second = slurm_py(*command)
    second.said(r"going on with the interrupted run of .*: 1 done, 1 queued or running, 0 to submit")
    (tmp_path / "go").touch()
    assert second.wait() == 0
    assert [(tmp_path / f"runs.{index}").read_text() for index in (1, 2)] == ["run\n", "run\n"]
    assert list(tmp_path.glob("*.slurm")) == []


def test_a_different_command_cancels_what_a_killed_submitter_left_with_these_logs(
    slurm_py, cluster, tmp_path
):
    first = slurm_py("x.log", "bash", "-c", "touch started; sleep 300")
    wait_for((tmp_path / "started").exists)
    first.kill()
    second = slurm_py("x.log", "echo", "other")
    assert second.wait() == 0
    assert "different command with these logs were cancelled" in second.text
    assert "other" in (tmp_path / "x.log").read_text()


def test_two_submitters_do_not_work_on_the_same_logs(slurm_py, tmp_path):
    slurm_py("y.log", "bash", "-c", "touch started; sleep 300")
    wait_for((tmp_path / "started").exists)
    second = slurm_py("y.log", "true")
    assert second.wait() == 1
    assert "is at work on these tasks" in second.text


def test_code_85_runs_a_task_again_within_its_retries_and_its_log_keeps_all_runs(slurm_py, tmp_path):
    script = "echo run >> runs.JOB; echo run $(wc -l < runs.JOB); [ $(wc -l < runs.1) -gt 1 ] || exit 85"
    script += "; [ JOB = 1 ] || exit 85"  # the second task asks for ever
    submitter = slurm_py("--retries", "1", "JOB=1:2", "again.JOB.log", "bash", "-c", script)
    assert submitter.wait() == 1
    assert "asks to be run again; submitted again (retry 1 of 1)" in submitter.text
    assert re.search(r"1 of 2 tasks failed: 2 \(.* given up after 1 retries\)", submitter.text)
    log = (tmp_path / "again.1.log").read_text()
    assert "\nrun 1\n" in log and "\nrun 2\n" in log
    assert json.loads((tmp_path / "again.1.json").read_text())["attempt"] == 1


# What each process of a step on two nodes does; `runs.0` counts the runs.
STEP = "echo run >> runs.$SLURM_PROCID; touch started.$SLURM_PROCID; "
FIRST = "[ $(wc -l < runs.$SLURM_PROCID) = 1 ]"


def test_processes_of_a_step_that_ask_to_be_run_again_all_come_to_their_end(slurm_py, tmp_path):
    script = STEP + "sleep $SLURM_PROCID; " + FIRST + " && touch ended.$SLURM_PROCID && exit 85; true"
    submitter = slurm_py("--num-nodes", "2", "again.log", "bash", "-c", script)
    assert submitter.wait() == 0
    assert "asks to be run again; submitted again (retry 1 of 3)" in submitter.text
    assert sorted(path.name for path in tmp_path.glob("ended.*")) == ["ended.0", "ended.1"]
    assert (tmp_path / "runs.1").read_text() == "run\nrun\n"


@pytest.mark.parametrize(("end", "code"), [("exit 3", "code 3"), ("kill -9 $$", "code 137")])
def test_one_process_that_fails_ends_its_step_and_the_task_fails(slurm_py, tmp_path, end, code):
    script = STEP + f"[ $SLURM_PROCID = 1 ] || exit 85; sleep 1; {end}"
    submitter = slurm_py("--num-nodes", "2", "failing.log", "bash", "-c", script)
    assert submitter.wait() == 1
    assert f"failing failed ({code}" in submitter.text
    assert (tmp_path / "runs.0").read_text() == "run\n"


@pytest.mark.parametrize("how", ["USR1", "TERM", "pre-empted"])
def test_a_step_on_two_nodes_told_to_stop_goes_on_in_another_job(slurm_py, cluster, tmp_path, how):
    """A pre-emption's TERM comes to all processes; srun itself would kill them if it got it from the task."""
    script = f"trap 'sleep 0.5; touch saved.$SLURM_PROCID; exit 85' USR1 TERM; {STEP}"
    script += f"{FIRST} || exit 0; while true; do sleep 0.1; done"
    whole = ["--num-nodes", "2", "--num-threads", str(cluster.cpus)]
    submitter = slurm_py(*whole, "stopped.log", "bash", "-c", script)
    wait_for(lambda: (tmp_path / "started.0").exists() and (tmp_path / "started.1").exists())
    if how == "pre-empted":
        urgent = ["sbatch", "-p", "urgent", "-N2", "-c", str(cluster.cpus), "--output=/dev/null"]
        cluster.command(*urgent, "--wrap", "sleep 2")
    else:
        cluster.command("scancel", "--batch", f"--signal={how}", *queued(cluster))
    assert submitter.wait() == 0
    assert "saved its state and asks to be run again; submitted again" in submitter.text
    assert (tmp_path / "saved.0").exists() and (tmp_path / "saved.1").exists()


def test_usr1_reaches_the_command_alone(slurm_py, cluster, tmp_path):
    script = "trap 'echo warned; exit 0' USR1; touch started; while true; do sleep 0.1; done"
    submitter = slurm_py("u.log", "bash", "-c", script)
    wait_for((tmp_path / "started").exists)
    cluster.command("scancel", "--batch", "--signal=USR1", *queued(cluster))
    assert submitter.wait() == 0
    assert "warned" in (tmp_path / "u.log").read_text()


def test_a_requeued_job_is_waited_for(slurm_py, cluster, tmp_path):
    script = "echo run >> runs; touch started; [ $(wc -l < runs) -gt 1 ] || sleep 300"
    submitter = slurm_py("q.log", "bash", "-c", script)
    wait_for((tmp_path / "started").exists)
    job = queued(cluster)[0]
    cluster.command("scontrol", "requeue", job)
    submitter.said("was requeued by Slurm")
    cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now")  # it would wait for two minutes
    assert submitter.wait() == 0
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


def test_the_submitter_may_be_a_job_itself(cluster, slurm_py, repo_root, tmp_path):
    inner = f"{repo_root}/utils/slurm.py --mem 60M JOB=1:2 in.JOB.log bash -c 'echo in JOB'"
    outer = slurm_py("--mem", "100M", "out.log", "bash", "-c", inner)
    assert outer.wait() == 0
    assert "in: 2/2 done" in (tmp_path / "out.log").read_text()
