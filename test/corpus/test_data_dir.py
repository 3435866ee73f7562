"""Data directories: what is read, what is refused and how it is told, what repair drops."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.bin import fix_data_dir, validate_data_dir
from espnet_sld.corpus.checks import scan_data_dir
from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.corpus.repair import fix, validate
from espnet_sld.errors import InputError


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def test_what_is_written_is_read_again(data, tmp_path):
    data.utt2speed = dict.fromkeys(data.utt2spk, 0.9)
    data.spk2gender = {"spk0": "f", "spk1": "m"}
    again = DataDir.read(data.write(tmp_path / "d"), check_files=True)
    assert again.wav == dict(sorted(data.wav.items()))
    assert (again.text, again.utt2spk, again.utt2speed) == (data.text, data.utt2spk, data.utt2speed)
    assert again.spk2gender == data.spk2gender
    assert again.utt2dur == pytest.approx(data.utt2dur)
    assert again.segments is None
    assert (tmp_path / "d/spk2utt").read_text().splitlines()[0] == "spk0 spk0-utt0 spk0-utt2 spk0-utt4"


def test_files_are_sorted_by_bytes_whatever_the_locale(tmp_path):
    ids = ["Z-1", "a-1", "é-1", "a_b-1", "A-1"]
    DataDir(dict.fromkeys(ids, "x.wav"), {i: i[:-2] for i in ids}, dict.fromkeys(ids, "w")).write(tmp_path)
    lines = (tmp_path / "text").read_bytes().splitlines()
    assert lines == sorted(lines)


def test_optional_files_of_an_earlier_write_are_removed(data, tmp_path):
    data.spk2gender = {"spk0": "f", "spk1": "m"}
    data.write(tmp_path)
    data.utt2dur = data.spk2gender = None
    data.write(tmp_path)
    assert not (tmp_path / "utt2dur").exists() and not (tmp_path / "spk2gender").exists()


def test_segments_keep_their_times(data, tmp_path):
    recording = next(iter(data.wav))
    spans = {f"{recording}-a": Span(recording, 0.0, 0.05), f"{recording}-b": Span(recording, 0.0123456, -1)}
    cut = DataDir(
        {recording: data.wav[recording]}, dict.fromkeys(spans, "spk0"), dict.fromkeys(spans, "w"), spans
    )
    assert DataDir.read(cut.write(tmp_path)).segments == spans


BROKEN = {
    "missing transcript": ("text", "spk0-utt2 number 2\n", "", "no transcript", "spk0-utt2"),
    "duplicate id": ("text", "spk0-utt2 number 2\n", "spk0-utt2 a\nspk0-utt2 b\n", "duplicate id", "text:3"),
    "duplicate audio": ("wav.scp", "spk0-utt2 ", "spk0-utt0 ", "duplicate id", "wav.scp:2"),
    "unsorted": (
        "text",
        "spk0-utt0 number 0\nspk0-utt2 number 2\n",
        "spk0-utt2 n\nspk0-utt0 n\n",
        "unsorted",
        ":2",
    ),
    "text without audio": ("text", "spk0-utt2 ", "spk0-utt3 ", "no audio", "spk0-utt3"),
    "no speaker": ("utt2spk", "spk0-utt2 spk0\n", "", "no speaker", "spk0-utt2"),
    "two speakers": ("utt2spk", "spk0-utt2 spk0", "spk0-utt2 spk0 spk1", "bad utt2spk line", "spk0-utt2"),
    "empty transcript": ("text", "spk0-utt2 number 2", "spk0-utt2", "empty transcript", "text:2"),
    "blank transcript": ("text", "spk0-utt2 number 2", "spk0-utt2  \t", "empty transcript", "text:2"),
    "tab": ("text", "spk0-utt2 number 2", "spk0-utt2\tnumber 2", "whitespace", "text:2"),
    "carriage return": ("text", "number 2\n", "number 2\r\n", "whitespace", "text:2"),
    "trailing blank": ("text", "number 2\n", "number 2 \n", "whitespace", "text:2"),
    "no-break space": ("text", "number 2", "number\u00a02", "whitespace", "text:2"),
    "zero-width space": ("text", "number 2", "num\u200bber 2", "U+200B", "text:2"),
    "double blank": ("text", "number 2", "number  2", "whitespace", "text:2"),
    "byte-order mark": ("text", "spk0-utt0 ", "\ufeffspk0-utt0 ", "byte-order mark", "text:1"),
    "empty line": ("text", "spk0-utt2", "\nspk0-utt2", "empty line", "text:2"),
    "cut short": ("text", "number 5\n", "number 5", "line ends", "text"),
    "missing file": ("wav.scp", "2.wav", "no.wav", "missing file", "no.wav"),
    "pipe": ("wav.scp", "2.wav", "2.wav cat |", "piped command", "wav.scp:2"),
    "bad duration": ("utt2dur", "spk0-utt2 0.3", "spk0-utt2 -0.3", "bad utt2dur line", "utt2dur:2"),
    "bad gender": ("spk2gender", "spk0 f", "spk0 F", "bad spk2gender line", "spk2gender:1"),
    "two genders": ("spk2gender", "spk0 f\n", "spk0 f\nspk0 m\n", "duplicate id", "spk2gender:2"),
    "speakers disagree": ("spk2utt", "spk0-utt2 ", "", "speakers disagree", "spk2utt"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_directory_is_refused_naming_place_and_remedy_and_fix_mends_it(case, data, tmp_path):
    name, old, new, kind, place = BROKEN[case]
    data.spk2gender = {"spk0": "f", "spk1": "m"}
    folder = data.write(tmp_path / "d")
    edit(folder / name, old, new)
    with pytest.raises(InputError) as caught:
        validate(folder)
    message = str(caught.value)
    assert kind in message and place in message and "utils/fix_data_dir" in message
    repair = fix(folder)
    assert repair.kept + len(repair.dropped) >= 6 and repair.kept >= 4
    assert validate(folder).utterances
    assert (folder / ".backup" / name).is_file()


def test_an_empty_audio_file_is_found(data, wavs, tmp_path):
    (wavs / "2.wav").write_bytes(b"")
    with pytest.raises(InputError, match="empty file"):
        validate(data.write(tmp_path / "d"))


def test_all_problems_come_in_one_message(data, tmp_path):
    folder = data.write(tmp_path / "d")
    edit(folder / "text", "spk0-utt2 number 2\n", "")
    edit(folder / "wav.scp", "5.wav", "gone.wav")
    with pytest.raises(InputError) as caught:
        validate(folder)
    assert "2 problems" in str(caught.value)
    assert "spk0-utt2" in str(caught.value) and "gone.wav" in str(caught.value)


def test_long_lists_of_problems_are_counted_not_flooded(tmp_path):
    ids = [f"s-{i:04d}" for i in range(500)]
    DataDir({i: f"/nowhere/{i}.wav" for i in ids}, dict.fromkeys(ids, "s"), dict.fromkeys(ids, "w")).write(
        tmp_path
    )
    with pytest.raises(InputError) as caught:
        validate(tmp_path)
    assert "missing file (500)" in str(caught.value) and "490 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) < 20


def test_a_missing_directory_or_file_is_named(data, tmp_path):
    with pytest.raises(InputError, match="no such data directory"):
        DataDir.read(tmp_path / "nothing")
    folder = data.write(tmp_path / "d")
    (folder / "text").unlink()
    with pytest.raises(InputError, match="lacks text"):
        DataDir.read(folder)
    assert len(DataDir.read(folder, text=False)) == 6


def test_text_in_another_encoding_is_refused_and_fix_drops_the_line(data, tmp_path):
    folder = data.write(tmp_path / "d")
    content = (folder / "text").read_bytes().replace(b"number 2", "größe".encode("latin-1"))
    (folder / "text").write_bytes(content)
    with pytest.raises(InputError, match=r"not UTF-8[\s\S]*text:2"):
        validate(folder)
    assert list(fix(folder).dropped) == ["spk0-utt2"]


def test_pipes_are_accepted_only_where_asked(data, tmp_path):
    folder = data.write(tmp_path / "d")
    edit(folder / "wav.scp", "spk0-utt2 ", "spk0-utt2 cat ")
    edit(folder / "wav.scp", "2.wav", "2.wav |")
    assert len(validate(folder, allow_pipes=True, check_audio=True)) == 6
    with pytest.raises(InputError, match="--allow_pipes true"):
        validate(folder)


@pytest.mark.parametrize(
    "line", ["u r 0.5", "u r a b", "u r 2 1", "u r -1 1", "u r 0 nan", "u gone 0 1"], ids=lambda line: line
)
def test_a_bad_segment_is_named(line, data, tmp_path):
    recording = "spk0-utt0"
    folder = tmp_path / "d"
    DataDir({recording: data.wav[recording]}, {"u": "u"}, {"u": "w"}, {"u": Span(recording)}).write(folder)
    (folder / "segments").write_text(line.replace(" r ", f" {recording} ") + "\n")
    with pytest.raises(InputError, match="segments:1"):
        validate(folder)


def test_ids_without_their_speaker_are_a_warning_only(data, tmp_path):
    data.utt2spk = dict.fromkeys(data.utt2spk, "other")
    scan = scan_data_dir(data.write(tmp_path))
    assert not scan.problems and "begin with their speaker" in scan.warnings[0]


def test_genders_of_other_speakers_are_a_warning_only(data, tmp_path):
    data.spk2gender = {"spk0": "f", "stranger": "m"}
    scan = scan_data_dir(data.write(tmp_path))
    assert not scan.problems and "2 speakers are only there or only in utt2spk" in scan.warnings[0]
    assert DataDir.from_scan(scan).spk2gender == {"spk0": "f"}


def test_fix_lists_what_it_dropped_and_why(data, tmp_path, capsys):
    data.spk2gender = {"spk0": "f", "spk1": "m"}
    folder = data.write(tmp_path / "d")
    edit(folder / "wav.scp", "5.wav", "gone.wav")
    edit(folder / "text", "spk0-utt2 number 2", "spk0-utt2")
    assert fix_data_dir.main([str(folder)]) == 0
    out = capsys.readouterr().out
    assert (
        "kept 4" in out and "missing file (1): spk1-utt5" in out and "empty transcript (1): spk0-utt2" in out
    )
    assert (folder / ".backup/dropped").read_text() == "spk0-utt2 empty transcript\nspk1-utt5 missing file\n"


def test_fix_drops_the_utterances_of_a_missing_recording(data, tmp_path):
    first, second = list(data.wav)[:2]
    spans = {"a": Span(first, 0, 0.1), "b": Span(second, 0, 0.1), "c": Span(second, 0.1, 0.2)}
    wav = {first: "/gone.wav", second: data.wav[second]}
    folder = DataDir(wav, {u: u for u in spans}, dict.fromkeys(spans, "w"), spans).write(tmp_path / "d")
    assert fix(folder).dropped == {"a": "missing file"}
    assert list(DataDir.read(folder).wav) == [second]


def test_fix_leaves_a_good_directory_untouched_and_a_hopeless_one_too(data, tmp_path):
    folder = data.write(tmp_path / "d")
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert fix(folder).dropped == {}
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    edit(folder / "wav.scp", ".wav", ".gone")
    with pytest.raises(InputError, match="nothing usable is left"):
        fix(folder)
    assert not (folder / ".backup").exists()


def test_without_the_need_for_text_a_transcript_may_be_missing_or_empty(data, tmp_path):
    folder = data.write(tmp_path / "d")
    edit(folder / "text", "spk0-utt2 number 2\n", "")
    edit(folder / "text", "spk1-utt5 number 5\n", "spk1-utt5\n")
    with pytest.raises(InputError, match="no transcript"):
        validate(folder)
    assert len(validate(folder, text=False)) == 6
    edit(folder / "text", "spk0-utt0 ", "spk0-stranger ")
    with pytest.raises(InputError, match="spk0-stranger"):
        validate(folder, text=False)


def test_a_second_fix_keeps_the_files_before_the_first(data, wavs, tmp_path):
    folder = data.write(tmp_path / "d")
    edit(folder / "text", "spk0-utt2 number 2", "spk0-utt2")
    before = (folder / "text").read_bytes()
    fix(folder)
    (wavs / "5.wav").unlink()
    fix(folder)
    assert (folder / ".backup.1/text").read_bytes() == before
    assert (folder / ".backup/dropped").read_text() == "spk1-utt5 missing file\n"


def test_a_fix_broken_off_says_where_the_files_are(data, tmp_path):
    folder = data.write(tmp_path / "d")
    edit(folder / "text", "spk0-utt2 number 2", "spk0-utt2")
    fix(folder)
    (folder / "utt2spk").unlink()  # DataDir.write removes it first
    with pytest.raises(InputError, match="copy them back"):
        fix(folder)


def test_stereo_is_validated_as_it_will_be_read(data, wavs, tmp_path):
    folder = data.write(tmp_path / "d")
    soundfile.write(wavs / "3.wav", 0.1 * np.ones((1600, 2), np.float32), 16000)
    with pytest.raises(InputError, match="2 channels"):
        validate_data_dir.main([str(folder), "--check_audio", "true"])
    assert validate_data_dir.main([str(folder), "--check_audio", "true", "--channels", "mean"]) == 0
    assert fix_data_dir.main([str(folder), "--check_audio", "true", "--channels", "mean"]) == 0
    assert len(DataDir.read(folder)) == 6


def test_check_audio_finds_what_only_decoding_shows_and_fix_drops_it(data, wavs, tmp_path):
    folder = data.write(tmp_path / "d")
    (wavs / "3.wav").write_text("this is no audio")
    assert len(validate(folder)) == 6
    with pytest.raises(InputError, match="spk1-utt3"):
        validate(folder, check_audio=True)
    assert fix(folder, check_audio=True).dropped == {"spk1-utt3": "unreadable audio"}


def test_a_wrong_sampling_rate_is_told_where_one_is_asked_for(data, tmp_path):
    folder = data.write(tmp_path / "d")
    with pytest.raises(InputError, match="16000 Hz, expected 8000 Hz"):
        validate_data_dir.main([str(folder), "--fs", "8000"])
