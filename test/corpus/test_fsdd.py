"""Free Spoken Digit Dataset: the split, the strings, and broken copies of the data set."""

import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.bin import prepare_fsdd
from espnet_sld.corpus import fsdd
from espnet_sld.corpus.audio import read_audio
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.repair import validate
from espnet_sld.errors import InputError

COUNTS = {"train": 20, "dev": 10, "test": 15}


@pytest.fixture(scope="module")
def plan(fsdd_dir):
    counts = {"train": 5000, "dev": 400, "test": 600}
    return fsdd.plan(fsdd.find_recordings(fsdd_dir), counts, seed=0)


@pytest.fixture(scope="module")
def prepared(fsdd_dir, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fsdd")
    fsdd.prepare(fsdd_dir, folder, COUNTS)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data set in the real one's layout, of short tones: 11 recordings a digit and speaker."""
    folder = tmp_path / "small/recordings"
    folder.mkdir(parents=True)
    soundfile.write(tmp_path / "tone.wav", 0.1 * np.ones(400, np.float32), 8000)
    content = (tmp_path / "tone.wav").read_bytes()
    for speaker in (*fsdd.SPEAKERS, fsdd.HELD_OUT_SPEAKER):
        for digit in range(10):
            for index in range(11):
                (folder / f"{digit}_{speaker}_{index}.wav").write_bytes(content)
    return folder.parent


def test_recordings_are_split_by_index_and_speaker(plan):
    allowed = {
        "train": lambda t: t.speaker != "yweweler" and t.index >= 10,
        "dev": lambda t: t.speaker != "yweweler" and 5 <= t.index <= 9,
        "test_isolated": lambda t: t.speaker != "yweweler" and t.index <= 4,
        "test_strings": lambda t: t.speaker != "yweweler" and t.index <= 4,
        "test_strings_once": lambda t: t.speaker != "yweweler" and t.index <= 4,
        "test_speaker": lambda t: t.speaker == "yweweler",
    }
    assert set(plan) == set(allowed)
    for name, rule in allowed.items():
        assert all(rule(token) for utterance in plan[name] for token in utterance.tokens)


def test_sets_have_the_sizes_of_the_official_split(plan):
    assert len(plan["test_isolated"]) == 250 and len(plan["test_speaker"]) == 500
    assert len(plan["test_strings"]) == 600 and len(plan["train"]) == 2000 + 5000
    assert len(plan["dev"]) == 250 + 400
    assert all(len(u.tokens) == 1 for u in plan["test_isolated"] + plan["test_speaker"])


def test_a_string_is_one_to_five_recordings_of_one_speaker_none_twice(plan):
    for name in ("test_strings", "test_strings_once"):
        for utterance in plan[name]:
            assert 1 <= len(utterance.tokens) <= 5 and len(utterance.gaps) == len(utterance.tokens) - 1
            assert len({token.speaker for token in utterance.tokens}) == 1
            assert len(set(utterance.tokens)) == len(utterance.tokens)
            assert all(0.05 <= gap <= 0.2 for gap in utterance.gaps)
    lengths = Counter(len(u.tokens) for u in plan["test_strings"])
    assert set(lengths) == {1, 2, 3, 4, 5}


def test_strings_once_use_every_test_recording_once(plan):
    used = Counter(token for utterance in plan["test_strings_once"] for token in utterance.tokens)
    assert len(used) == 250 and set(used.values()) == {1}


def test_transcripts_are_the_digits_of_the_file_names(plan):
    utterance = plan["test_strings"][3]
    names = [token.path.name[0] for token in utterance.tokens]
    assert utterance.transcript.split() == [DIGITS[int(name)] for name in names]


@pytest.mark.slow
def test_directories_are_valid_and_ids_begin_with_the_speaker(prepared):
    for name in ("train", "dev", "test_isolated", "test_strings", "test_strings_once", "test_speaker"):
        data = validate(prepared / name, check_audio=name != "train", expected_rate=16000)
        assert all(utt.startswith(speaker + "-") for utt, speaker in data.utt2spk.items())


@pytest.mark.slow
def test_a_string_is_its_recordings_with_silence_between(fsdd_dir, prepared):
    utterances = fsdd.plan(fsdd.find_recordings(fsdd_dir), COUNTS, seed=0)["test_strings"]
    utterance = next(u for u in utterances if len(u.tokens) == 3)
    (path,) = (prepared / "wavs/test_strings").glob(f"{utterance.utt}.*.wav")
    joined, position = read_audio(path), 0
    for token, gap in zip(utterance.tokens, (*utterance.gaps, 0.0), strict=True):
        part = read_audio(token.path)
        heard = joined[position : position + len(part)]
        np.testing.assert_allclose(heard, np.clip(part, -1, 1), atol=1 / 32768)
        silence = joined[position + len(part) : position + len(part) + round(gap * 16000)]
        assert not silence.any()
        position += len(part) + len(silence)
    assert position == len(joined)


@pytest.mark.slow
def test_a_run_after_a_kill_gives_the_same_bytes(small, tmp_path):
    fsdd.prepare(small, tmp_path / "a", COUNTS)
    fsdd.prepare(small, tmp_path / "b", COUNTS)
    paths = sorted((tmp_path / "b/wavs/train").iterdir())
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    (tmp_path / "b/wavs/train/.half.wav.x.tmp").write_bytes(b"")
    (tmp_path / "b/train/utt2spk").unlink()
    fsdd.prepare(small, tmp_path / "b", COUNTS)

    def contents(folder: Path) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "wav.scp"}

    assert contents(tmp_path / "a/wavs") == contents(tmp_path / "b/wavs")
    assert contents(tmp_path / "a/train") == contents(tmp_path / "b/train")


@pytest.mark.slow
def test_changed_recordings_are_noticed(small, tmp_path):
    fsdd.prepare(small, tmp_path / "a", COUNTS)
    soundfile.write(small / "recordings/0_theo_0.wav", 0.2 * np.ones(800, np.float32), 8000)
    result = fsdd.prepare(small, tmp_path / "a", COUNTS)
    assert result["test_isolated"].utt2dur["theo-0-000"] == pytest.approx(0.1)


def break_set(folder: Path, how: str) -> None:
    recordings = folder / "recordings"
    match how:
        case "no folder":
            recordings.rename(folder / "waves")
        case "wrong name":
            (recordings / "seven_theo_1.wav").write_bytes(b"x")
        case "index missing":
            (recordings / "3_lucas_4.wav").unlink()
        case "speaker missing":
            for path in recordings.glob("*_nicolas_*"):
                path.unlink()
        case "no training part":
            (recordings / "3_lucas_10.wav").unlink()
        case "index twice":
            (recordings / "3_lucas_04.wav").write_bytes(b"x")
        case "not audio":
            (recordings / "3_lucas_4.wav").write_text("words")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no folder", "recordings: no such folder"),
        ("wrong name", r"seven_theo_1\.wav"),
        ("index missing", r"lacks 3_lucas_4\.wav"),
        ("speaker missing", r"lacks 0_nicolas_0\.wav"),
        ("no training part", r"lacks 3_lucas_10\.wav"),
        ("index twice", "index 4 occurs twice"),
        ("not audio", r"3_lucas_4\.wav: cannot be decoded"),
    ],
)
def test_a_broken_copy_of_the_data_set_is_refused_by_name(how, message, small, tmp_path):
    break_set(small, how)
    with pytest.raises(InputError, match=message):
        prepare_fsdd.main(
            ["--fsdd_dir", str(small), "--data_dir", str(tmp_path / "d"), "--num_train_strings", "5"]
        )


def test_the_folder_below_is_recognised(small):
    with pytest.raises(InputError, match="give the folder above it"):
        fsdd.find_recordings(small / "recordings")


def test_other_speakers_are_left_out(small):
    (small / "recordings/0_alexa_0.wav").write_bytes(b"")
    assert {speaker for speaker, _ in fsdd.find_recordings(small)} == {*fsdd.SPEAKERS, "yweweler"}


def test_no_strings_at_all_is_refused(small, tmp_path):
    with pytest.raises(InputError, match="--num_dev_strings 0"):
        fsdd.prepare(small, tmp_path, {**COUNTS, "dev": 0})


def test_a_clone_is_made_once_and_a_broken_off_one_again(small, tmp_path):
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(small)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "recordings"]):
        subprocess.run([*git, *command], check=True)
    downloads = tmp_path / "downloads"
    (downloads / "free-spoken-digit-dataset.partial/recordings").mkdir(parents=True)
    target = fsdd.clone(downloads, str(small))
    assert len(list((target / "recordings").iterdir())) == 660
    assert fsdd.clone(downloads, "/nowhere") == target


def test_an_unreachable_repository_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"cannot be cloned.*--fsdd_dir"):
        fsdd.clone(tmp_path, str(tmp_path / "nothing"))
    assert not (tmp_path / "free-spoken-digit-dataset").exists()
