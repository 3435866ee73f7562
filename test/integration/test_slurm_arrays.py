"""utils/slurm.py on a real cluster: arrays, their limits, options, and what a task finds on its node."""

import json
import re
import sys

import pytest

pytestmark = pytest.mark.slow


def log_lines(path) -> list[str]:
    """A log's lines without head and foot."""
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_an_array_leaves_logs_and_results_and_nothing_else(slurm_py, tmp_path):
    words = ["a  b", "$HOME", "*", "x;y", "'q\"", "naïve", "JOB"]
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    submitter = slurm_py("JOB=1:3", "log/say.JOB.log", sys.executable, "-c", script, *words)
    assert submitter.wait() == 0
    assert submitter.lines[-1][1].startswith("say: 3/3 done, 0 running, 0 failed")
    assert json.loads(log_lines(tmp_path / "log/say.2.log")[0]) == [*words[:-1], "2"]
    result = json.loads((tmp_path / "log/say.2.json").read_text())
    assert result["exit_code"] == 0 and result["host"] in {"node1", "node2"}
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [
        f"say.{index}.{ending}" for index in (1, 2, 3) for ending in ("json", "log")
    ]


def test_more_tasks_than_an_array_may_have_are_submitted_in_several(slurm_py, tmp_path):
    submitter = slurm_py("N=5:16", "c.N.log", "bash", "-c", "echo task N of $(printenv | grep ARRAY_JOB_ID)")
    assert submitter.wait() == 0
    lines = [log_lines(tmp_path / f"c.{index}.log")[0] for index in range(5, 17)]
    assert [line.split()[1] for line in lines] == [str(index) for index in range(5, 17)]
    assert len({line.split()[3] for line in lines}) == 2


def test_no_more_tasks_run_at_once_than_asked_also_over_several_arrays(slurm_py, tmp_path):
    (tmp_path / "now").mkdir()
    script = "touch now/JOB; ls now | wc -l; sleep 0.3; rm now/JOB"
    submitter = slurm_py("--max-jobs-run", "2", "JOB=1:9", "n.JOB.log", "bash", "-c", script)
    assert submitter.wait() == 0
    assert max(int(log_lines(tmp_path / f"n.{index}.log")[0]) for index in range(1, 10)) == 2


def test_failures_are_named_with_code_log_and_the_way_on(slurm_py, tmp_path):
    script = "echo cause of JOB; if [ JOB = 2 ]; then exit 3; fi; if [ JOB = 3 ]; then kill -9 $$; fi"
    submitter = slurm_py("JOB=1:3", "f.JOB.log", "bash", "-c", script)
    assert submitter.wait() == 1
    causes = "f: 2 of 3 tasks failed: 2 (code 3), 3 (code 137: killed, perhaps out of memory)"
    assert causes in submitter.text
    assert "  | cause of 2" in submitter.text and "run the same command again" in submitter.text
    assert json.loads((tmp_path / "f.3.json").read_text())["signal"] == 9


def test_what_waits_is_not_tried_when_all_fail(slurm_py, tmp_path):
    submitter = slurm_py("--max-jobs-run", "3", "JOB=1:8", "a.JOB.log", "bash", "-c", "sleep 0.2; false")
    assert submitter.wait() == 1
    assert re.search(r"\d tasks were not started", submitter.text)
    assert len(list(tmp_path.glob("a.*.log"))) < 8


def test_options_of_the_command_line_and_of_the_file_reach_sbatch(slurm_py, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/slurm.conf").write_text(
        "command sbatch --export=NONE\n"
        "option gpu=* -p gpu --gres=gpu:$0  # a comment\n"
        "option gpu=0 -p cpu\ndefault gpu=0\noption name=* --job-name x-$0\n"
        "prologue export FROM_PROLOGUE=yes\n"
        "wrapper env WRAPPED=yes\n"
    )
    (tmp_path / "path.sh").write_text("export FROM_PATH_SH=$FROM_PROLOGUE\n")
    names = ["SLURM_JOB_PARTITION", "SLURM_JOB_NAME", "SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"]
    names += ["CUDA_VISIBLE_DEVICES", "FROM_PATH_SH", "WRAPPED", "SLURM_EXPORT_ENV", "SLURM_MEM_PER_CPU"]
    script = "echo " + " ".join(f"${name}" for name in names)
    options = ["--gpu", "1", "--num-threads", "2", "--mem", "70M", "--name", "me", "-t", "5"]
    submitter = slurm_py(*options, "o.log", "bash", "-c", script, CUDA_VISIBLE_DEVICES="7", SLURM_JOB_ID="1")
    assert submitter.wait() == 0
    expected = ["gpu", "x-me", "2", "2", "0", "yes", "yes", "ALL", "70"]
    assert log_lines(tmp_path / "o.log")[0].split() == expected


def test_a_refused_submission_shows_sbatchs_words_and_the_command(slurm_py, tmp_path):
    submitter = slurm_py("--partition", "nowhere", "r.log", "true")
    assert submitter.wait() == 1
    assert "Invalid partition name" in submitter.text and "submitted with: sbatch" in submitter.text
    assert "Traceback" not in submitter.text and not (tmp_path / "r.log").exists()


def test_one_step_starts_the_command_on_every_node_with_a_rendezvous(slurm_py, tmp_path):
    names = ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "WORLD_SIZE"]
    names += ["MASTER_ADDR", "MASTER_PORT", "SLURMD_NODENAME"]
    script = "echo " + " ".join(f"${name}" for name in names)
    submitter = slurm_py("--num-nodes", "2", "--gpu", "2", "d.log", "bash", "-c", script)
    assert submitter.wait() == 0
    rows = sorted(line.split() for line in log_lines(tmp_path / "d.log"))
    assert [row[:4] for row in rows] == [[str(i), str(i % 2), "4", "4"] for i in range(4)]
    assert {row[4] for row in rows} == {rows[0][6]} and len({row[5] for row in rows}) == 1
    assert [row[6] for row in rows] == ["node1", "node1", "node2", "node2"]
