"""Submissions on disk, sending within limits, and taking over; without Slurm."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from espnet_sld.errors import InputError
from espnet_sld.jobs import slurm_client, slurm_sender
from espnet_sld.jobs.arguments import parse
from espnet_sld.jobs.result import Result, write_result
from espnet_sld.jobs.slurm_client import Sighting, SubmitLater, SubmitLimit, client_environment
from espnet_sld.jobs.slurm_conf import SlurmConf
from espnet_sld.jobs.slurm_resume import live_jobs, take_over
from espnet_sld.jobs.slurm_sender import ChunkSender
from espnet_sld.jobs.slurm_task import Claim, distributed
from espnet_sld.jobs.submission import open_submission


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def begin(tasks: int, command: str = "true"):
    request = parse([f"JOB=1:{tasks}", "log/x.JOB.log", command, "JOB"])
    submission, old = open_submission(request, SlurmConf())
    return submission, old, {task.index: task for task in request.tasks()}


class FakeSlurm:
    """sbatch with a limit of queued tasks and failures to order."""

    def __init__(self, monkeypatch, limit: int = 10**6, failures: tuple[Exception, ...] = ()):
        self.limit, self.failures, self.arrays = limit, list(failures), []
        self.queued = 0
        monkeypatch.setattr(slurm_client, "submit", self.submit)
        monkeypatch.setattr(slurm_client, "cancel", lambda jobs, *_: self.cancelled.extend(jobs))
        monkeypatch.setattr(slurm_sender, "DELAY", 0.0)
        self.cancelled: list[str] = []

    def submit(self, words: list[str]) -> str:
        if self.failures:
            raise self.failures.pop(0)
        array = words[words.index("--array") + 1]
        spec = json.loads(open(words[-1].rsplit(".", 2)[0] + ".json").read())  # noqa: SIM115
        if self.queued + len(spec["tasks"]) > self.limit:
            raise SubmitLimit("job submit limit")
        self.queued += len(spec["tasks"])
        self.arrays.append(array)
        return str(100 + len(self.arrays))


def test_arrays_are_cut_at_the_greatest_index_and_keep_their_tasks(monkeypatch):
    submission, _, tasks = begin(10)
    submission.begin()
    slurm = FakeSlurm(monkeypatch)
    sender = ChunkSender(submission, tasks, 4, None, print)
    sender.add(dict.fromkeys(tasks, 0))
    chunks = sender.send_due(0, lambda: False)
    assert slurm.arrays == ["1-4", "1-4", "1-2"]
    assert [index for chunk in chunks for index in chunk.tasks.values()] == list(range(1, 11))
    assert [chunk.job for chunk in submission.chunks] == ["101", "102", "103"]


def test_throttling_holds_over_several_arrays(monkeypatch):
    submission, _, tasks = begin(10)
    submission.begin()
    slurm = FakeSlurm(monkeypatch)
    sender = ChunkSender(submission, tasks, 4, 3, print)
    sender.add(dict.fromkeys(tasks, 0))
    assert len(sender.send_due(0, lambda: False)) == 1
    assert sender.send_due(2, lambda: False) == []
    assert len(sender.send_due(0, lambda: False)) == 1
    assert slurm.arrays == ["1-4%3", "1-4%3"]


def test_a_sites_submit_limit_is_filled_and_the_rest_waits(monkeypatch):
    submission, _, tasks = begin(16)
    submission.begin()
    slurm = FakeSlurm(monkeypatch, limit=5)
    said = []
    sender = ChunkSender(submission, tasks, 1000, None, said.append)
    sender.add(dict.fromkeys(tasks, 0))
    sent = sender.send_due(0, lambda: False)
    assert slurm.queued == 5 == sum(len(chunk.tasks) for chunk in sent)
    assert "the rest follows" in said[0]
    waiting = [index for chunk in sender.unsent for index in chunk.tasks.values()]
    assert sorted(waiting + [index for chunk in sent for index in chunk.tasks.values()]) == list(range(1, 17))


def test_a_limit_that_not_even_one_task_passes_is_an_error(monkeypatch):
    submission, _, tasks = begin(2)
    submission.begin()
    FakeSlurm(monkeypatch, limit=0)
    sender = ChunkSender(submission, tasks, 1000, None, print)
    sender.add(dict.fromkeys(tasks, 0))
    with pytest.raises(InputError, match="job submit limit"):
        sender.send_due(0, lambda: False)


def test_a_lost_reply_is_cleared_up_by_squeue_not_by_submitting_twice(monkeypatch):
    submission, _, tasks = begin(2)
    submission.begin()
    slurm = FakeSlurm(monkeypatch, failures=(SubmitLater("timed out", True),))
    sender = ChunkSender(submission, tasks, 1000, None, lambda _: None)
    sender.delay = 0.0
    sender.add(dict.fromkeys(tasks, 0))
    chunk = sender.unsent[0]
    assert sender.send_due(0, lambda: False) == []
    assert sender.see_queue([]) == [] and sender.send_due(0, lambda: False) == []  # one answer is not enough
    sighting = Sighting("7", "1", "7", "PENDING", "None", chunk.script)
    assert sender.see_queue([sighting]) == [chunk]
    assert chunk.job == "7" and slurm.arrays == [] and sender.unsent == []


def test_a_repeated_submission_whose_first_turns_up_late_is_cancelled(monkeypatch):
    submission, _, tasks = begin(2)
    submission.begin()
    slurm = FakeSlurm(monkeypatch, failures=(SubmitLater("timed out", True),))
    sender = ChunkSender(submission, tasks, 1000, None, lambda _: None)
    sender.delay = 0.0
    sender.add(dict.fromkeys(tasks, 0))
    assert sender.send_due(0, lambda: False) == []
    sender.see_queue([])
    sender.see_queue([])
    (chunk,) = sender.send_due(0, lambda: False)
    sender.see_queue([Sighting("7", "1", "7", "PENDING", "None", chunk.script)])
    assert chunk.job == "101" and slurm.cancelled == ["7"]


def interrupted(tasks: int = 4):
    """A submission whose submitter is gone (its lock too, as after kill -9), with all tasks in one array."""
    submission, _, table = begin(tasks)
    submission.begin()
    chunk = submission.add_chunk(list(table.values()), {}, 1000)
    chunk.note_job("50")
    return submission, chunk, table


def finish(chunk, task, code: int = 0, ended: float | None = None) -> None:
    ended = time.time() if ended is None else ended
    result = Result(code, submission=chunk.token, attempt=0, ended=ended)
    write_result(task.result, result)


def test_taking_over_keeps_what_is_done_and_queued_and_submits_the_rest(tmp_path):
    old, chunk, tasks = interrupted()
    finish(chunk, tasks[1])
    finish(chunk, tasks[2], code=1)
    live = live_jobs(old, [Sighting("50", "3", "53", "RUNNING", "None", chunk.script)])
    taken, message = take_over(old, tasks, live)
    assert (taken.finished, taken.queued, taken.again) == ({1}, {3}, {2: 1, 4: 1})
    assert "1 done, 1 queued or running, 2 to submit" in message


def test_results_of_another_submission_do_not_count():
    old, chunk, tasks = interrupted(1)
    finish(chunk, tasks[1])
    chunk.token = old.token = "other"
    assert take_over(old, tasks, []) == (None, "")


def test_jobs_whose_id_was_not_noted_are_found_by_their_script(tmp_path):
    old, chunk, tasks = interrupted(2)
    chunk.file(".id").unlink()
    chunk.job = ""
    live = live_jobs(old, [Sighting("50", "1", "51", "RUNNING", "None", chunk.script)])
    taken, _ = take_over(old, tasks, live)
    assert chunk.job == "50" and taken.queued == {1} and taken.again == {2: 1}


def test_what_changed_since_is_not_kept_when_nothing_runs_any_more(tmp_path):
    (tmp_path / "config").write_text("new")
    submission, _, tasks = begin(2, "config")
    submission.begin()
    chunk = submission.add_chunk(list(tasks.values()), {}, 1000)
    chunk.note_job("50")
    finish(chunk, tasks[1], ended=time.time() - 100)
    taken, message = take_over(submission, tasks, [])
    assert taken is None and "config changed since" in message
    os.utime(tmp_path / "config", (0, time.time() - 200))
    taken, _ = take_over(submission, tasks, [])
    assert taken.finished == {1} and taken.again == {2: 1}


def test_a_closed_submission_is_not_taken_over_and_a_successful_one_leaves_nothing(tmp_path):
    submission, _, _ = begin(2)
    submission.begin()
    submission.close(success=False)
    stored = json.loads((tmp_path / "log/x.JOB.slurm/submission.json").read_text())
    assert stored["closed"]
    submission.close(success=True)
    assert list((tmp_path / "log").iterdir()) == []


def test_the_batch_script_is_valid_shell_whatever_the_names(tmp_path, monkeypatch):
    folder = tmp_path / "a b'c $d\n#e"
    folder.mkdir()
    monkeypatch.chdir(folder)
    request = parse(["JOB=1:2", "x\ny.JOB.log", "echo", "a\nfalse"])
    submission, _ = open_submission(request, SlurmConf(prologue=["python3 () { :; }"]))
    submission.begin()
    chunk = submission.add_chunk(request.tasks(), {}, 1000)
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2"}
    done = subprocess.run(["bash", chunk.script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\na\nfalse\n" in request.tasks()[1].log.read_text()
    words = submission.sbatch_words(chunk, 3)
    assert words[-1] == chunk.script and words[words.index("--array") + 1] == "1-2%3"


def test_inner_commands_do_not_see_the_surrounding_job(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SQUEUE_PARTITION", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/x")
    kept = client_environment()
    assert "SLURM_CONF" in kept and "PATH" in kept
    assert not {"SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SQUEUE_PARTITION", "CUDA_VISIBLE_DEVICES"} & kept.keys()


def test_a_claim_passes_to_the_later_run_and_the_earlier_one_notices(tmp_path):
    first, second = Claim(tmp_path / "c" / "1", "a 1 0"), Claim(tmp_path / "c" / "1", "a 1 1")
    first.take(wait=100)
    assert first.held()
    second.take(wait=0)
    assert second.held() and not first.held()
    first.give_back()
    assert second.held()
    second.give_back()
    first.take(wait=100)  # given back: no need to wait


@pytest.mark.parametrize(
    ("cpus", "gpus", "per_node", "cpus_each", "overcommit"),
    [("4(x2)", 0, "1", "4", False), ("8,4", 2, "2", "2", False), ("1(x2)", 4, "4", "1", True)],
)
def test_one_process_per_gpu_with_a_fair_share_of_the_cpus(cpus, gpus, per_node, cpus_each, overcommit):
    environment = {"SLURM_JOB_CPUS_PER_NODE": cpus, "SLURM_JOB_ID": "12"}
    words, variables = distributed(environment, ["n1", "n2"], gpus, Path("marker"))
    assert words[words.index("--ntasks-per-node") + 1] == per_node
    assert words[words.index("--cpus-per-task") + 1] == cpus_each
    assert ("--overcommit" in words) == overcommit
    assert words[-1] == "marker" and words[-2].endswith("slurm_step.py")
    assert variables["MASTER_ADDR"] == "n1" and variables["WORLD_SIZE"] == str(2 * int(per_node))
