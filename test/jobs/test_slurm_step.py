"""One process of a job step: code 85 becomes a file and 0, any other end stays what it is."""

import os
import signal
import subprocess
import sys
import time

import pytest

from espnet_sld.jobs import slurm_step
from espnet_sld.jobs.result import read_result


def guarded(marker, *command: str) -> list[str]:
    return [sys.executable, "-S", "-E", slurm_step.__file__, str(marker), *command]


@pytest.mark.parametrize(
    ("script", "code", "marked"),
    [("exit 0", 0, False), ("exit 85", 0, True), ("exit 3", 3, False), ("kill -9 $$", 137, False)],
)
def test_only_the_wish_to_be_run_again_is_turned_into_a_file(tmp_path, script, code, marked):
    marker = tmp_path / "marker"
    place = {"SLURM_PROCID": "3", "SLURMD_NODENAME": "n2"}
    words = guarded(marker, "bash", "-c", script)
    done = subprocess.run(words, env={**os.environ, **place}, capture_output=True, text=True)
    assert done.returncode == code and marker.exists() == marked
    assert done.stdout.startswith(f"# Process 3 on n2 ended (code {85 if marked else code}")


def test_a_wish_that_cannot_be_written_stays_the_code(tmp_path):
    done = subprocess.run(guarded(tmp_path / "none" / "m", "bash", "-c", "exit 85"), capture_output=True)
    assert done.returncode == 85 and b"the state is saved" in done.stderr


def test_a_missing_command_is_named(tmp_path):
    done = subprocess.run(guarded(tmp_path / "m", "no-such-command"), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (127, "no-such-command: command not found\n")


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGTERM])
def test_signals_reach_the_command_and_leave_its_guard(tmp_path, signum):
    script = f"trap 'exit 85' {signum.name[3:]}; touch {tmp_path}/ready; while true; do sleep 0.05; done"
    process = subprocess.Popen(guarded(tmp_path / "marker", "bash", "-c", script))
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signum)
    assert process.wait(20) == 0 and (tmp_path / "marker").exists()


# A task's runner as slurm_task.py uses it; "srun" ends with 0 though its processes ask to be run again.
RUNNER = """
import signal, sys
from pathlib import Path
from espnet_sld.jobs.task import Starter, run_task, watch_signals
watch_signals()
folder = Path(sys.argv[1])
starter = Starter(signal.SIGUSR1, (folder / "marker").exists)
run_task(folder / "log", folder / "json", ["bash", "-c", sys.argv[2]], 20, starter=starter)
"""


@pytest.mark.parametrize(
    ("made", "script", "code"),
    [(True, "exit 0", 85), (False, "exit 0", 0), (True, "exit 3", 3), (True, "kill -9 $$", 137)],
)
def test_a_task_asks_for_another_run_only_where_its_step_ended_well(tmp_path, made, script, code):
    if made:
        (tmp_path / "marker").touch()
    subprocess.run([sys.executable, "-c", RUNNER, str(tmp_path), script], check=True)
    assert read_result(tmp_path / "json").exit_code == code


def test_a_step_told_to_stop_hears_usr1_in_place_of_term(tmp_path):
    script = (
        f"trap 'touch {tmp_path}/marker; exit 0' USR1; touch {tmp_path}/ready; while :; do sleep 0.05; done"
    )
    process = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path), script], start_new_session=True)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    process.wait(20)
    result = read_result(tmp_path / "json")
    assert (result.exit_code, result.stopped_by) == (85, signal.SIGTERM)
