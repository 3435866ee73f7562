"""The command on real recordings of all sorts, and on files that are none."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from espnet_sld import Speech2Text
from espnet_sld.bin import transcribe
from espnet_sld.errors import InputError
from espnet_sld.inference.formats import render
from espnet_sld.inference.transcript import Segment, Transcript, Word


@pytest.fixture(scope="module")
def sounds(librispeech_dir, fsdd_dir, tmp_path_factory):
    """Real speech: a flac, the same at 44.1 kHz stereo, at 8 kHz, as mp3 and ogg; two files that are none."""
    folder = tmp_path_factory.mktemp("sounds")
    flac = min(librispeech_dir.rglob("*.flac"), key=lambda path: soundfile.info(path).frames)
    samples, rate = soundfile.read(flac)
    assert rate == 16000
    soundfile.write(folder / "plain.flac", samples, rate)
    high = soxr.resample(samples, rate, 44100)
    soundfile.write(folder / "stereo.wav", np.stack([high, high], axis=1), 44100)
    soundfile.write(folder / "low.wav", soxr.resample(samples, rate, 8000), 8000)
    soundfile.write(folder / "compressed.mp3", samples, rate)
    soundfile.write(folder / "free.ogg", samples, rate)
    (folder / "empty.wav").touch()
    (folder / "renamed.wav").write_text("a text\n" * 100)
    return folder


FILES = [
    *("plain.flac", "empty.wav", "stereo.wav", "low.wav", "renamed.wav", "compressed.mp3", "free.ogg"),
    "none.wav",
]
GOOD = ["plain.flac", "stereo.wav", "low.wav", "compressed.mp3", "free.ogg"]


def run(packed, sounds, capsys, *more, files=FILES):
    """Exit code, stdout lines, stderr lines."""
    paths = [str(sounds / name) for name in files]
    model = str(packed("plain"))
    capsys.readouterr()  # packing prints where it is done first
    code = transcribe.main(["--model", model, *more, *paths])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


@pytest.mark.parametrize("seconds", ["0.5", "1000"])
def test_each_file_gives_its_text_or_one_clear_error(packed, sounds, capsys, seconds):
    code, out, err = run(packed, sounds, capsys, "--batch_seconds", seconds)
    assert code == 1
    rows = [line.split("\t") for line in out]
    assert [path for path, _ in rows] == [str(sounds / name) for name in GOOD]
    speech2text = Speech2Text.from_pretrained(packed("plain"))
    assert [text for _, text in rows] == [speech2text(str(sounds / name)).text for name in GOOD]
    assert all(text for _, text in rows)
    assert len(err) == 4
    for line, name, message in zip(
        err, ("empty", "renamed", "none"), ("is empty", "cannot be decoded", "no such file"), strict=False
    ):
        assert f"{name}.wav: " in line and message in line
    assert err[3].endswith("3 of 8 files could not be transcribed")


def test_good_files_alone_end_well(packed, sounds, capsys):
    code, out, err = run(packed, sounds, capsys, files=GOOD)
    assert (code, len(out), err) == (0, 5, [])


def test_the_same_speech_at_any_rate_gives_nearly_the_same_units(packed, sounds):
    speech2text = Speech2Text.from_pretrained(packed("plain"))
    reference = speech2text.tokenizer([speech2text.read(sounds / "plain.flac")])[0].ids
    for name in ("stereo.wav", "low.wav"):  # front-end below 4 kHz; the mp3 has a delay of its own
        ids = speech2text.tokenizer([speech2text.read(sounds / name)])[0].ids
        assert len(ids) == len(reference)
        assert np.mean(ids == reference) > 0.85


def test_jsonl_has_segments_and_if_asked_words(packed, sounds, capsys):
    code, out, _ = run(packed, sounds, capsys, "--format", "jsonl", "--word_times", "true", files=GOOD)
    assert code == 0
    for line, name in zip(out, GOOD, strict=True):
        record = json.loads(line)
        assert record["file"] == str(sounds / name)
        assert record["seconds"] == pytest.approx(soundfile.info(sounds / name).duration, abs=0.1)
        assert record["text"] == " ".join(part["text"] for part in record["segments"] if part["text"])
        words = [word["word"] for part in record["segments"] for word in part.get("words", [])]
        assert words == record["text"].split()
    _, out, _ = run(packed, sounds, capsys, "--format", "jsonl", files=GOOD[:1])
    assert "words" not in out[0]


def test_ctm_and_srt_are_written_a_file_each(packed, sounds, capsys, tmp_path):
    for form in ("ctm", "srt"):
        code, out, _ = run(packed, sounds, capsys, "--format", form, "--out_dir", str(tmp_path))
        assert (code, out) == (1, [])
    assert sorted(path.name for path in tmp_path.glob("*.srt")) == sorted(
        f"{name.split('.')[0]}.srt" for name in GOOD
    )
    speech2text = Speech2Text.from_pretrained(packed("plain"))
    for name in GOOD:
        words = speech2text(str(sounds / name), word_times=True).words
        stem = name.split(".")[0]
        lines = (tmp_path / f"{stem}.ctm").read_text().splitlines()
        assert [line.split()[4] for line in lines] == [word.text for word in words]
        assert all(re.fullmatch(rf"{stem} 1 \d+\.\d\d \d+\.\d\d \S+ [01]\.\d{{4}}", line) for line in lines)
        assert (tmp_path / f"{stem}.srt").read_text().startswith("1\n00:00:0")


def test_names_that_clash_and_wrong_options_are_said_at_once(packed, sounds, tmp_path):
    plain = str(sounds / "plain.flac")
    model = ["--model", str(packed("plain"))]
    for arguments, message in (
        ([*model, "--format", "srt", plain, str(sounds / "low.wav")], "need --out_dir"),
        ([*model, "--format", "ctm", plain, plain], "several files are called 'plain'"),
        ([*model, "--out_dir", str(tmp_path), plain, plain], "several files are called 'plain'"),
        ([*model, "--batch_seconds", "0", plain], "must be positive"),
        ([*model, "--batch_seconds", "nan", plain], "must be positive"),
        ([*model, "--beam_size", "0", plain], "beam_size and batch_tokens must be at least 1"),
        (["--model", str(tmp_path / "none"), plain], "no such directory or zip"),
        ([*model, "--digest", "0" * 64, plain], "another pack"),
        ([*model, "--max_segment_seconds", "0.01", plain], "must be at least"),
    ):
        with pytest.raises(InputError, match=message):
            transcribe.main(arguments)


def process(model: Path, paths: list[Path]) -> subprocess.CompletedProcess:
    """The command as a user runs it."""
    command = [sys.executable, "-m", "espnet_sld.bin.transcribe", "--model", str(model), *map(str, paths)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_the_exit_code_tells_that_files_failed_and_the_rest_is_done(packed, sounds):
    done = process(packed("plain"), [sounds / name for name in FILES])
    assert done.returncode == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [str(sounds / n) for n in GOOD]
    assert len(done.stderr.splitlines()) == 4 and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_tampered_pack_is_refused_by_the_command(packed, sounds, tmp_path):
    folder = shutil.copytree(packed("plain"), tmp_path / "bad")
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = process(folder, [sounds / "plain.flac"])
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ") and "model.safetensors: was changed or damaged" in done.stderr


def transcript(words: list[Word]) -> Transcript:
    text = " ".join(word.text for word in words)
    segment = Segment(0.0, 9.0, text, -1.0, "end", False, (), None, tuple(words))
    return Transcript(9.0, (segment,))


def test_subtitles_end_at_pauses_and_when_they_are_long():
    words = [Word(f"word{n}", n * 0.5, n * 0.5 + 0.4, 0.5) for n in range(20)]
    words += [Word("later", 13.25, 13.5, 1.0), Word("end", 3723.1234, 3724.0, 1.0)]
    blocks = render(transcript(words), "a b", "srt").split("\n\n")
    assert blocks[0] == "1\n00:00:00,000 --> 00:00:05,900\n" + " ".join(f"word{n}" for n in range(12))
    assert blocks[1] == "2\n00:00:06,000 --> 00:00:09,900\n" + " ".join(f"word{n}" for n in range(12, 20))
    assert blocks[2] == "3\n00:00:13,250 --> 00:00:13,500\nlater"
    assert blocks[3] == "4\n01:02:03,123 --> 01:02:04,000\nend"
    assert blocks[4:] == [""]
    assert render(transcript([]), "a", "srt") == "" == render(transcript([]), "a", "ctm")
    assert render(transcript(words[:1]), "a b", "ctm") == "a_b 1 0.00 0.40 word0 0.5000\n"
