"""Progress and failure messages."""

import io

from espnet_sld.jobs.arguments import parse
from espnet_sld.jobs.report import ProgressLine, failure_report, rough_time, tail
from espnet_sld.jobs.result import Result, explain, read_result, write_result


def test_progress_names_the_state_and_guesses_the_time_left():
    line = ProgressLine("units", 32, stream=io.StringIO())
    assert line.line(12, 4, 0, 120.0) == "units: 12/32 done, 4 running, 0 failed, 3 min left"
    assert line.line(31, 0, 1, 7300.0) == "units: 31/32 done, 0 running, 1 failed, 2 h 02 min"


def test_progress_prints_plain_lines_and_few_of_them_when_not_on_a_terminal():
    stream = io.StringIO()
    line = ProgressLine("units", 100, interval=1000, stream=stream)
    for done in range(100):
        line.update(done, 1, 0)
    line.update(100, 0, 0, last=True)
    assert stream.getvalue() == "units: 100/100 done, 0 running, 0 failed, 1 s\n"


def test_rough_time_is_never_zero():
    assert [rough_time(value) for value in (0.1, 59, 61, 3600)] == ["1 s", "59 s", "1 min", "1 h 00 min"]


def test_tail_leaves_out_head_foot_and_redrawn_progress(tmp_path):
    log = tmp_path / "x.log"
    log.write_text(
        "# cmd\n# Started at t on host\n#\n 10%\r 50%\r100%\nboom\n# Accounting: 1\n# Ended (code 1) at t\n"
    )
    assert tail(log) == ["100%", "boom"]
    assert tail(tmp_path / "none.log")[0].startswith("(no log")


def test_failure_report_explains_codes_and_how_to_resume(tmp_path):
    request = parse(["JOB=1:40", str(tmp_path / "u.JOB.log"), "cmd", "a b", "JOB"])
    tasks = {task.index: task for task in request.tasks()}
    (tmp_path / "u.3.log").write_text("last words\n")
    text = failure_report(request, {7: 1, 3: 137}, tasks, 5)
    assert "2 of 40 tasks failed: 3 (code 137: killed, perhaps out of memory), 7 (code 1)" in text
    assert "5 tasks were not started" in text
    assert "  | last words" in text
    assert "command: cmd 'a b' 3" in text
    assert "to resume: run the same command again" in text


def test_unknown_signals_are_named_by_number():
    assert explain(128 + 31) == "code 159: signal 31"


def test_result_round_trip_and_damaged_results_count_as_none(tmp_path):
    path = tmp_path / "x.json"
    result = Result(exit_code=3, host="h", seconds=1.5, command=["a b", "c"])
    write_result(path, result)
    assert read_result(path) == result
    path.write_text('{"exit_code": 0')
    assert read_result(path) is None
    assert list(tmp_path.iterdir()) == [path]
