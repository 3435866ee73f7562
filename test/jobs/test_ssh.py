"""utils/ssh.py: what reaches the other machine, and what ends with the connection.

`ssh` is a program that takes ssh's words and, as sshd does, gives the command to a shell in another folder,
in a session of its own, with few variables; a machine named `down` cannot be reached.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SSH = """#!/usr/bin/env bash
while [[ $1 == -* ]]; do shift; done
[ "$1" != down ] || { echo "ssh: connect to host down port 22: Connection refused" >&2; exit 255; }
host=$1; shift
cd /
exec env -i HOME="$HOME" PATH=/usr/bin:/bin REACHED="$host" setsid --wait sh -c "$*"
"""


@pytest.fixture
def ssh_py(repo_root: Path, tmp_path: Path):
    """Starts it in a folder with a path.sh and two machines."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(SSH)
    (programs / "ssh").chmod(0o755)
    folder = tmp_path / "a b"
    (folder / ".queue").mkdir(parents=True)
    (folder / ".queue" / "machines").write_text("one  # the first\n\nme@two\n")
    (folder / "path.sh").write_text("export FROM_PATH_SH=yes\n")
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OURS": "1"}

    def start(*arguments: str) -> subprocess.Popen:
        words = [sys.executable, str(repo_root / "utils" / "ssh.py"), *arguments]
        return subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)

    start.folder = folder
    return start


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_tasks_run_on_both_machines_in_this_folder_with_path_sh_and_leave_results(ssh_py):
    script = "import json, os, sys; print(json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]))"
    words = ["a  b", "$HOME", "'q\"", "naïve", "JOB"]
    started = ssh_py("--num-threads", "2", "JOB=1:4", "log/x.JOB.log", sys.executable, "-c", script, *words)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 0 and "x: 4/4 done" in said
    reached = set()
    for index in range(1, 5):
        line = (ssh_py.folder / f"log/x.{index}.log").read_text().splitlines()[3]
        folder, variables, given = json.loads(line)
        assert Path(folder) == ssh_py.folder and given == [*words[:-1], str(index)]
        assert variables["FROM_PATH_SH"] == "yes" and variables["OMP_NUM_THREADS"] == "2"
        assert "OURS" not in variables
        reached.add(variables["REACHED"])
        assert json.loads((ssh_py.folder / f"log/x.{index}.json").read_text())["exit_code"] == 0
    assert reached == {"one", "me@two"}


def test_a_task_that_fails_and_a_machine_that_is_down_are_told_apart(ssh_py):
    (ssh_py.folder / ".queue" / "machines").write_text("one\ndown\n")
    started = ssh_py("JOB=1:2", "f.JOB.log", "bash", "-c", "echo the cause; exit 3")
    _, said = started.communicate(timeout=60)
    assert started.returncode == 1
    assert "f: 2 of 2 tasks failed: 1 (code 3), 2 (code 255)" in said and "  | the cause" in said
    assert "task 2: down cannot be reached, or the connection broke" in said


def test_code_85_runs_a_task_again(ssh_py):
    script = "echo run >> runs; [ $(wc -l < runs) -gt 1 ] || exit 85"
    started = ssh_py("again.log", "bash", "-c", script)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 0 and "asked to be run again" in said
    assert (ssh_py.folder / "again.log").read_text().count("# Started at") == 2


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_us_ends_the_tasks_and_they_get_their_grace(ssh_py, signum):
    script = "trap 'sleep 0.5; touch saved; exit 85' TERM; echo $$ > pid; while true; do sleep 0.1; done"
    started = ssh_py("--grace", "20", "s.log", "bash", "-c", script)
    pid_file = ssh_py.folder / "pid"
    wait_for(lambda: pid_file.exists() and pid_file.read_text())
    started.send_signal(signum)
    assert started.wait(60) == (143 if signum == signal.SIGTERM else -9)
    wait_for((ssh_py.folder / "saved").exists)
    wait_for(lambda: gone(int(pid_file.read_text())))


@pytest.mark.parametrize("machines", [None, "# none\n", "-oProxyCommand=x\n", "one two\n"])
def test_machines_that_are_not_named_are_asked_for(ssh_py, machines):
    path = ssh_py.folder / ".queue" / "machines"
    if machines is None:
        path.unlink()
    else:
        path.write_text(machines)
    started = ssh_py("m.log", "true")
    _, said = started.communicate(timeout=60)
    assert started.returncode == 1 and said.startswith("error: ssh.py: .queue/machines: ")
