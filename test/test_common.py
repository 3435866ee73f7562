"""The ground that all rooms stand on: whole files, stamps, progress, and errors that help."""

import errno
import io
import os
import resource

import pytest

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table, write_table
from espnet_sld.progress import Progress, format_seconds, track
from espnet_sld.stamps import Stamp


def exit_of(main) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.run(main)
    return caught.value.code


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table"
    write_table(path, {"a": "1"})
    with pytest.raises(OSError, match="full"), atomic_write(path) as stream:
        stream.write("half of the new")
        raise OSError(errno.ENOSPC, "disk full")
    assert path.read_text() == "a 1\n"
    assert os.listdir(tmp_path) == ["table"]


def test_a_full_disk_is_one_message_with_the_remedy(tmp_path):
    def main():
        with open("/dev/full", "w") as stream:  # every write to it fails as on a full disk
            stream.write("x" * 100_000)

    message = exit_of(main)
    assert "no space left" in message and "again" in message


def test_bad_input_is_one_message_without_a_traceback(capsys):
    def main():
        raise InputError("data/text:3: 'utt7' has no value; add it or delete the line")

    assert exit_of(main) == "error: data/text:3: 'utt7' has no value; add it or delete the line"
    assert "Traceback" not in capsys.readouterr().err


def test_an_unforeseen_error_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(main)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a 1\na 2\n", "'a' occurs twice"),
        ("a 1\n\nb 2\n", "empty line"),
        ("a\n", "'a' has no value"),
    ],
)
def test_a_bad_table_names_file_line_and_remedy(tmp_path, content, words):
    path = tmp_path / "text"
    path.write_text(content)
    with pytest.raises(InputError, match=f"text:[0-9]: {words}"):
        read_table(path)


def test_a_table_that_is_missing_or_not_utf8_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"a \xe4\n")
    with pytest.raises(InputError, match="latin: not UTF-8"):
        read_table(tmp_path / "latin")


def test_tables_are_sorted_by_bytes_and_read_back(tmp_path):
    rows = {"b": "2", "B": "1", "ä": "4 5", "a-1": "3"}
    write_table(tmp_path / "t", rows)
    assert list(read_table(tmp_path / "t")) == ["B", "a-1", "b", "ä"]
    assert read_table(tmp_path / "t") == rows


def test_a_write_that_fails_names_its_file(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError) as error, atomic_write(tmp_path / "large") as stream:
            stream.write("x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.filename == str(tmp_path / "large") and not list(tmp_path.iterdir())


def test_a_path_below_a_file_gives_one_message(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit, match=r"error: .*file/out: lies below what is a file"):
        cli.run(lambda: (tmp_path / "file" / "out").read_text())


def test_a_stamp_holds_while_inputs_options_and_outputs_stay(tmp_path):
    data, out, path = tmp_path / "in", tmp_path / "out", tmp_path / "out.done.json"
    data.write_text("1")
    out.write_text("2")

    def stamp(**options):
        return Stamp(path, inputs=[data], options=options, outputs=[out])

    assert not stamp(k=1).fresh()
    stamp(k=1).write(count=7)
    assert stamp(k=1).fresh() and stamp(k=1).result() == {"count": 7}
    assert not stamp(k=2).fresh() and stamp(k=2).differences() == ["k: 1 → 2"]
    data.write_text("other")
    assert not stamp(k=1).fresh()
    data.write_text("1")
    out.unlink()
    assert not stamp(k=1).fresh()


def test_a_damaged_stamp_is_not_fresh(tmp_path):
    path = tmp_path / "x.done.json"
    path.write_text('{"inputs": ')
    assert not Stamp(path).fresh()


def test_progress_in_a_log_is_plain_lines_with_a_total():
    stream = io.StringIO()
    assert list(track(range(3), 3, "units", stream=stream)) == [0, 1, 2]
    assert stream.getvalue().startswith("units: 3/3 utterances, ")
    assert "\r" not in stream.getvalue()


def test_progress_names_rate_and_time_left():
    progress = Progress(10, "decode", stream=io.StringIO())
    progress.interval = 0
    progress.update(4)
    line = progress.stream.getvalue()
    assert line.startswith("decode: 4/10 utterances, ") and line.rstrip().endswith("left")


@pytest.mark.parametrize(("seconds", "text"), [(1.24, "1.2s"), (75, "1m15s"), (3720, "1h02m")])
def test_times_read_as_a_person_writes_them(seconds, text):
    assert format_seconds(seconds) == text


def test_key_values_recognise_numbers_and_booleans():
    assert cli.key_values(["a=1", "b=0.5", "c=true", "d=x=y"]) == {"a": 1, "b": 0.5, "c": True, "d": "x=y"}
    with pytest.raises(InputError, match="key=value"):
        cli.key_values(["alone"])
