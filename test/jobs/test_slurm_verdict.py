"""What became of a task, from every combination of result file and squeue's word."""

import pytest

from espnet_sld.errors import REQUEUE
from espnet_sld.jobs.result import Result
from espnet_sld.jobs.slurm_client import parse_queue
from espnet_sld.jobs.slurm_verdict import Watch, from_slurm, judge


def seen(state: str, result: Result | None = None, reason: str = "None") -> Watch:
    """A watch that has known all since long."""
    watch = Watch()
    watch.see(state, reason, now=0.0, asked=0.0)
    watch.see_result(result, now=0.0)
    return watch


OK = Result(0)
OWN = Result(3)
KILLED = Result(137, signal=9)
STOPPED = Result(143, stopped_by=15)
SAVED = Result(REQUEUE, stopped_by=15)
ASKS = Result(REQUEUE)


@pytest.mark.parametrize(
    ("state", "result", "kind", "cause"),
    [
        # the result file alone is enough
        ("RUNNING", OK, "done", ""),
        ("NODE_FAIL", OK, "done", ""),
        ("RUNNING", OWN, "failed", "3"),
        # who stopped it, only Slurm knows
        ("RUNNING", STOPPED, "wait", ""),
        ("PENDING", STOPPED, "wait", ""),
        ("COMPLETING", ASKS, "wait", ""),
        ("TIMEOUT", STOPPED, "failed", "--time"),
        ("OUT_OF_MEMORY", KILLED, "failed", "--mem"),
        ("CANCELLED", STOPPED, "failed", "cancelled"),
        ("CANCELLED", SAVED, "failed", "cancelled"),
        ("FAILED", KILLED, "failed", "code 137"),
        ("FAILED", STOPPED, "failed", "code 143: terminated, told to stop from outside"),
        ("PREEMPTED", STOPPED, "again", "pre-empted"),
        ("NODE_FAIL", STOPPED, "again", "node failed"),
        # it asks to be run again
        ("FAILED", ASKS, "again", "asks to be run again"),
        ("TIMEOUT", SAVED, "again", "asks to be run again"),
        ("PREEMPTED", SAVED, "again", "asks to be run again"),
        # no result
        ("PENDING", None, "wait", ""),
        ("RUNNING", None, "wait", ""),
        ("NODE_FAIL", None, "again", "node failed"),
        ("BOOT_FAIL", None, "again", "boot"),
        ("TIMEOUT", None, "failed", "--time"),
        ("DEADLINE", None, "failed", "deadline"),
        ("CANCELLED", None, "failed", "cancelled"),
        ("FAILED", None, "failed", "no result"),
        ("COMPLETED", None, "failed", "do the compute nodes see this directory"),
        ("SPECIAL_EXIT", None, "again", "holds it"),
    ],
)
def test_long_after_the_event(state, result, kind, cause):
    watch = seen(state, result)
    late = 20.0 if result is not None else 100.0
    verdict = judge(watch, late)
    assert verdict.kind == kind
    assert cause in str(verdict.cause)


def test_a_late_result_file_is_waited_for():
    watch = seen("FAILED")
    assert judge(watch, 1.0).kind == "wait"
    watch.see_result(OWN, now=2.0)
    assert judge(watch, 2.0).cause == 3
    watch = seen("COMPLETED")
    assert judge(watch, 50.0).kind == "wait"
    watch.see_result(OK, now=50.0)
    assert judge(watch, 50.0).kind == "done"


def test_a_killed_command_is_reported_even_if_slurm_says_nothing():
    assert judge(seen("RUNNING", KILLED), 10.0).kind == "wait"
    assert judge(seen("RUNNING", KILLED), 31.0).cause == 137


def test_a_job_is_lost_only_after_several_answers_without_it_and_a_while():
    watch = seen("RUNNING")
    for now in (1.0, 2.0, 3.0, 4.0):
        watch.see_missing(now, siblings=False)
        assert judge(watch, now).kind == "wait"
    assert judge(watch, 12.0).kind == "again"
    watch.see("RUNNING", "None", 13.0, asked=13.0)
    assert judge(watch, 13.0).kind == "wait"


def test_an_element_that_vanishes_while_pending_was_cancelled():
    watch = seen("PENDING")
    watch.see_missing(1.0, siblings=True)
    watch.see_missing(2.0, siblings=True)
    assert judge(watch, 10.0).kind == "failed"


def test_slurms_own_requeue_makes_the_earlier_result_void_once():
    watch = seen("RUNNING")
    watch.see("PENDING", "BeginTime", now=1.0, asked=1.0)  # the file is seen after the state
    watch.see_result(STOPPED, now=2.0)
    watch.see("PENDING", "BeginTime", now=3.0, asked=3.0)
    watch.see_result(STOPPED, now=4.0)
    assert (watch.requeues, watch.result) == (1, None)
    watch.see("RUNNING", "None", now=5.0, asked=5.0)
    watch.see_result(OK, now=6.0)
    assert judge(watch, 6.0).kind == "done"


def test_a_result_newer_than_the_question_is_not_void():
    watch = seen("PENDING")
    watch.see_result(KILLED, now=2.0)  # it started and ended meanwhile
    watch.see("PENDING", "None", now=3.0, asked=1.0)
    assert (watch.requeues, watch.result) == (0, KILLED)


def test_launch_failures_that_are_held_get_another_job():
    assert judge(seen("PENDING", None, "launch_failed_requeued_held"), 1.0).kind == "again"
    assert judge(seen("PENDING", None, "JobHeldUser"), 1000.0).kind == "wait"


@pytest.mark.parametrize(
    ("code", "words"),
    [("3:0", "code 3,"), ("0:9", "code 137: killed"), ("0:53", "could not start it"), ("", "no result")],
)
def test_without_a_result_slurms_exit_code_is_explained(code, words):
    assert words in from_slurm(code)


def test_squeues_lines_are_read_and_others_left_out():
    text = "CLUSTER: a\n17|3|19|RUNNING|None|/x/a|b.sh\n18|N/A|18|PENDING|Priority|/y.sh\n\n"
    first, second = parse_queue(text)
    assert (first.array, first.key, first.state, first.script) == ("17", "3", "RUNNING", "/x/a|b.sh")
    assert (second.array, second.key, second.reason) == ("18", "N/A", "Priority")
