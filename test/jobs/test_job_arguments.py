"""Kaldi's command line, read by every back-end."""

import pytest

from espnet_sld.errors import InputError
from espnet_sld.jobs.arguments import parse


def test_options_array_log_and_command_are_told_apart():
    request = parse(
        ["--max-jobs-run", "4", "--mem=2G", "JOB=1:3", "--gpu", "1", "log/x.JOB.log", "cmd", "--shard", "JOB"]
    )
    assert request.options == {"max_jobs_run": "4", "mem": "2G", "gpu": "1"}
    assert (request.variable, request.first, request.last) == ("JOB", 1, 3)
    assert [task.command for task in request.tasks()] == [
        ["cmd", "--shard", str(index)] for index in (1, 2, 3)
    ]
    assert [task.log.name for task in request.tasks()] == ["x.1.log", "x.2.log", "x.3.log"]
    assert request.tasks()[0].result.as_posix() == "log/x.1.json"
    assert request.name == "x"


def test_placeholder_is_replaced_inside_words_with_spaces_and_any_name_will_do():
    request = parse(["N=7", "units.N.log", "python", "-c", "print('shard N of N')"])
    assert request.tasks()[0].command == ["python", "-c", "print('shard 7 of 7')"]


def test_without_an_array_nothing_is_replaced():
    request = parse(["exp/train.log", "echo", "JOB"])
    assert request.tasks()[0].command == ["echo", "JOB"]
    assert request.name == "train"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--no-such-option", "1", "log", "cmd"], "unknown option --no-such-option"),
        (["--max-jobs-run", "0", "log", "cmd"], "from 1"),
        (["--gpu", "two", "log", "cmd"], "whole number"),
        (["--gpu"], "needs a value"),
        (["JOB=3:1", "log.JOB", "cmd"], "empty"),
        (["JOB=1:2", "log", "cmd"], "lacks JOB"),
        (["JOB=1:2", "log.JOB"], "COMMAND"),
        ([], "COMMAND"),
    ],
)
def test_bad_command_lines_are_explained(argv, message):
    with pytest.raises(InputError, match=message):
        parse(argv)
