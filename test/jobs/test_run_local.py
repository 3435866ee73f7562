"""utils/run.py with real processes: logs, results, throttling, GPUs, and nothing left behind."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Sleeps in the background and in the foreground and writes both process ids.
TREE = "sleep 300 & echo $! $$ > {pids}.JOB.tmp; mv {pids}.JOB.tmp {pids}.JOB; sleep 300; true"


@pytest.fixture
def run_py(repo_root: Path, tmp_path: Path):
    """Run it from another directory, as recipes do."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(repo_root / "utils" / "run.py"), *arguments]
        env = {**os.environ, **environment}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

    return run


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def start_tree(
    repo_root: Path, tmp_path: Path, tasks: int, prefix: str = ""
) -> tuple[subprocess.Popen, list[int]]:
    """Start an array of process trees in the background; its process and the ids of the trees' processes."""
    command = [
        sys.executable,
        str(repo_root / "utils" / "run.py"),
        "--max-jobs-run",
        str(tasks),
        f"JOB=1:{tasks}",
    ]
    command += [str(tmp_path / "t.JOB.log"), "bash", "-c", prefix + TREE.format(pids=tmp_path / "pids")]
    # the tests may run under nohup, which run.py would respect
    heard = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    files = [tmp_path / f"pids.{index}" for index in range(1, tasks + 1)]
    wait_for(lambda: all(file.exists() for file in files))
    return process, [int(pid) for file in files for pid in file.read_text().split()]


def test_success_leaves_logs_and_results(run_py, tmp_path):
    done = run_py("JOB=1:3", "log/say.JOB.log", sys.executable, "-c", "print('task JOB of three')")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].startswith("say: 3/3 done, 0 running, 0 failed")
    log = (tmp_path / "log/say.2.log").read_text().splitlines()
    assert log[0].startswith("# ") and "task 2 of three" in log[0]
    assert log[1].startswith("# Started at ")
    assert log[3] == "task 2 of three"
    assert log[-1].startswith("# Ended (code 0) at ")
    result = json.loads((tmp_path / "log/say.2.json").read_text())
    assert result["exit_code"] == 0
    assert result["command"][-1] == "print('task 2 of three')"
    assert {"host", "seconds", "started", "ended", "command_digest"} <= result.keys()


def test_words_with_spaces_and_shell_characters_arrive_unchanged(run_py, tmp_path):
    words = ["a  b", "$HOME", "*", "x;y", "'q\"", "naïve"]
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    assert run_py("w.log", sys.executable, "-c", script, *words).returncode == 0
    assert json.loads((tmp_path / "w.log").read_text().splitlines()[3]) == words


def test_failing_tasks_are_named_with_the_log_and_the_way_on(run_py, tmp_path):
    script = "import sys; print('cause of JOB'); sys.exit(3 if JOB == 2 else 0)"
    done = run_py("JOB=1:3", "log/f.JOB.log", sys.executable, "-c", script)
    assert done.returncode == 1
    assert "f: 1 of 3 tasks failed: 2 (code 3)" in done.stderr
    assert "  | cause of 2" in done.stderr
    assert "run the same command again" in done.stderr
    assert json.loads((tmp_path / "log/f.2.json").read_text())["exit_code"] == 3
    assert "# Ended (code 3)" in (tmp_path / "log/f.2.log").read_text()


def test_a_killed_task_is_perhaps_out_of_memory(run_py):
    done = run_py("k.log", "bash", "-c", "kill -9 $$")
    assert done.returncode == 1
    assert "code 137: killed, perhaps out of memory" in done.stderr


def test_a_runner_killed_itself_counts_as_failed_and_leaves_nothing(run_py, tmp_path):
    done = run_py("k.log", "bash", "-c", "sleep 300 & echo $! > pid; kill -9 $PPID; sleep 300")
    assert done.returncode == 1
    assert "code 137" in done.stderr
    assert not alive(int((tmp_path / "pid").read_text()))
    assert json.loads((tmp_path / "k.json").read_text())["exit_code"] == 137


def test_a_missing_command_is_named(run_py):
    done = run_py("m.log", "no-such-command-here")
    assert done.returncode == 1
    assert "code 127: command not found" in done.stderr


def test_the_rest_is_not_tried_when_all_fail(run_py, tmp_path):
    done = run_py("--max-jobs-run", "2", "JOB=1:30", "log/a.JOB.log", "false")
    assert done.returncode == 1
    assert "tasks were not started" in done.stderr
    assert len(list((tmp_path / "log").glob("*.log"))) <= 5


@pytest.mark.slow
def test_no_more_tasks_run_at_once_than_asked(run_py, tmp_path):
    (tmp_path / "now").mkdir()
    script = "touch now/JOB; ls now | wc -l; sleep 0.2; rm now/JOB"
    assert run_py("--max-jobs-run", "2", "JOB=1:6", "log/n.JOB.log", "bash", "-c", script).returncode == 0
    counts = [int((tmp_path / f"log/n.{index}.log").read_text().splitlines()[3]) for index in range(1, 7)]
    assert max(counts) == 2


@pytest.mark.slow
def test_threads_and_gpus_reach_the_task_and_a_gpu_has_one_task_at_a_time(run_py, tmp_path):
    (tmp_path / "now").mkdir()
    script = (
        "mkdir now/$CUDA_VISIBLE_DEVICES; echo $OMP_NUM_THREADS $MKL_NUM_THREADS $CUDA_VISIBLE_DEVICES;"
        "sleep 0.1; rmdir now/$CUDA_VISIBLE_DEVICES"
    )
    arguments = ["--gpu", "1", "--num-threads", "2", "--max-jobs-run", "4", "JOB=1:5", "log/g.JOB.log"]
    done = run_py(*arguments, "bash", "-ec", script, CUDA_VISIBLE_DEVICES="3,5")
    assert done.returncode == 0, done.stderr
    lines = [(tmp_path / f"log/g.{index}.log").read_text().splitlines()[3] for index in range(1, 6)]
    assert set(lines) == {"2 2 3", "2 2 5"}


def test_more_gpus_than_there_are_is_an_error_at_once(run_py, tmp_path):
    done = run_py("--gpu", "2", "x.log", "true", CUDA_VISIBLE_DEVICES="0")
    assert done.returncode == 1
    assert "--gpu 2 asked for, 1 GPU(s) visible" in done.stderr
    assert not (tmp_path / "x.log").exists()


def test_an_old_result_is_never_taken_for_a_new_one(run_py, tmp_path):
    assert run_py("o.log", "true").returncode == 0
    run_py("o.log", "bash", "-c", "test ! -e o.json")
    assert json.loads((tmp_path / "o.json").read_text())["exit_code"] == 0


def test_what_a_finished_task_left_in_the_background_is_ended(run_py, tmp_path):
    assert run_py("b.log", "bash", "-c", "sleep 300 & echo $! > pid").returncode == 0
    wait_for(lambda: not alive(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_whole_trees(repo_root, tmp_path, signum):
    process, pids = start_tree(repo_root, tmp_path, 2)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signum
    assert f"cancelled by {signum.name}" in errors and "to resume" in errors
    wait_for(lambda: not any(map(alive, pids)))
    assert json.loads((tmp_path / "t.1.json").read_text())["exit_code"] > 128


def test_kill_9_of_the_submitter_leaves_no_process(repo_root, tmp_path):
    process, pids = start_tree(repo_root, tmp_path, 2)
    process.kill()
    process.communicate(timeout=30)
    wait_for(lambda: not any(map(alive, pids)))


@pytest.mark.slow
def test_kill_9_of_the_submitter_ends_also_what_ignores_sigterm(repo_root, tmp_path):
    process, pids = start_tree(repo_root, tmp_path, 1, prefix="trap '' TERM; ")
    process.kill()
    process.communicate(timeout=30)
    wait_for(lambda: not any(map(alive, pids)))


def test_nested_arrays_die_with_the_outer_one(repo_root, tmp_path):
    inner = [sys.executable, str(repo_root / "utils" / "run.py"), str(tmp_path / "inner.log"), "bash", "-c"]
    inner.append(TREE.format(pids=tmp_path / "pids").replace("JOB", "1"))
    outer = subprocess.Popen([*inner[:2], str(tmp_path / "outer.log"), *inner], stderr=subprocess.DEVNULL)
    wait_for((tmp_path / "pids.1").exists)
    pids = [int(pid) for pid in (tmp_path / "pids.1").read_text().split()]
    outer.kill()
    outer.wait(timeout=30)
    wait_for(lambda: not any(map(alive, pids)))


def test_a_run_whose_runner_is_killed_does_not_have_the_result_of_the_run_before(run_py, tmp_path):
    script = "[ -e on ] && kill -9 $PPID; touch on; exit 85"
    assert run_py("r.log", "bash", "-c", script).returncode == 1
    assert json.loads((tmp_path / "r.json").read_text())["exit_code"] == 128 + signal.SIGKILL


def test_code_85_runs_a_task_again_and_its_log_keeps_both_runs(run_py, tmp_path):
    script = "echo run >> runs; echo this is $(wc -l < runs); [ $(wc -l < runs) -gt 1 ] || exit 85"
    done = run_py("again.log", "bash", "-c", script)
    assert done.returncode == 0
    assert "again: task 1 asked to be run again" in done.stderr
    log = (tmp_path / "again.log").read_text()
    assert "\nthis is 1\n" in log and "\nthis is 2\n" in log


@pytest.mark.slow
def test_a_task_that_asks_again_and_again_without_progress_is_given_up(run_py, tmp_path):
    done = run_py("--retries", "2", "r.log", "bash", "-c", "echo run >> runs; exit 85")
    assert done.returncode == 1
    assert "code 85: saved its state and asks to be run again" in done.stderr
    assert len((tmp_path / "runs").read_text().split()) == 3


@pytest.mark.slow
def test_usr1_goes_to_the_command_alone_and_it_may_ask_for_another_run(run_py, tmp_path):
    script = "[ ! -e saved ] || exit 0; trap 'touch saved; exit 85' USR1; kill -USR1 $PPID; sleep 5"
    assert run_py("u.log", "bash", "-c", script).returncode == 0
    assert (tmp_path / "saved").exists()


@pytest.mark.slow
def test_a_stopped_task_has_its_grace_and_is_not_run_again(repo_root, tmp_path):
    script = (
        f"cd {tmp_path}; trap 'sleep 1; touch saved; exit 85' TERM; touch on; while :; do sleep 0.1; done"
    )
    command = [sys.executable, str(repo_root / "utils" / "run.py"), "--grace", "20", str(tmp_path / "g.log")]
    command += ["bash", "-c", script]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "on").exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "saved").exists()
    result = json.loads((tmp_path / "g.json").read_text())
    assert (result["exit_code"], result["stopped_by"]) == (85, signal.SIGTERM)


def test_several_machines_need_a_cluster(run_py):
    done = run_py("--num-nodes", "2", "n.log", "true")
    assert done.returncode == 1
    assert "needs a cluster" in done.stderr


def test_unwritable_logs_are_one_clear_message(run_py, tmp_path):
    (tmp_path / "file").write_text("")
    done = run_py("file/x.log", "true")
    assert done.returncode == 1
    assert "logs cannot be written there" in done.stderr and "Traceback" not in done.stderr


def test_help_and_an_empty_command_line(run_py):
    assert "usage: run.py" in run_py("--help").stdout
    assert run_py().returncode == 1
