"""LibriSpeech: the real slices as Kaldi would have them, selections of parts, and damaged copies."""

import logging
import shutil
from pathlib import Path

import pytest
import soundfile

from espnet_sld.bin import prepare_librispeech
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.librispeech import PARTS, Selection, find
from espnet_sld.corpus.repair import validate
from espnet_sld.corpus.speed import speed_perturb
from espnet_sld.errors import InputError

SLICES = ["--train_parts", "train-clean-100", "--train_set", "train_clean_100", "--dev_parts", "test-other"]
SLICES += ["--test_parts", "test-clean test-other"]


def run(librispeech_dir: Path, data_dir: Path, *options: str) -> int:
    given = ["--librispeech_dir", str(librispeech_dir), "--data_dir", str(data_dir), "--nj", "2"]
    return prepare_librispeech.main([*given, *(options or SLICES)])


@pytest.fixture(scope="module")
def prepared(librispeech_dir, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("librispeech") / "data"
    assert run(librispeech_dir, folder) == 0
    return folder


@pytest.fixture
def copy(small_librispeech, tmp_path) -> Path:
    return Path(shutil.copytree(small_librispeech, tmp_path / "LibriSpeech"))


def kaldi_tables(part: Path) -> dict[str, dict[str, str]]:
    """What egs/librispeech/s5/local/data_prep.sh of Kaldi writes, said again."""
    lines = (part.parent / "SPEAKERS.TXT").read_text().splitlines()
    gender = {line.split()[0]: line.split("|")[1].strip().lower() for line in lines if line[0] != ";"}
    text, utt2spk, spk2gender = {}, {}, {}
    for path in part.glob("*/*/*.trans.txt"):
        reader, chapter = path.parts[-3:-1]
        for line in path.read_text().splitlines():
            utt, words = line.split(" ", 1)
            text[utt], utt2spk[utt] = words, f"{reader}-{chapter}"
        spk2gender[f"{reader}-{chapter}"] = gender[reader]
    wav = {path.stem: str(path) for path in part.glob("*/*/*.flac")}
    return {"text": text, "utt2spk": utt2spk, "spk2gender": spk2gender, "wav": wav}


@pytest.mark.parametrize(
    ("part", "utterances", "readers", "women"),
    [("train-clean-100", 367, 3, 1), ("test-clean", 341, 6, 2), ("test-other", 100, 10, 5)],
)
def test_the_slices_are_as_kaldi_would_have_them(part, utterances, readers, women, prepared, librispeech_dir):
    data = DataDir.read(prepared / part.replace("-", "_"), check_files=True)
    kaldi = kaldi_tables(librispeech_dir / part)
    assert data.utt2spk == kaldi["utt2spk"] and data.spk2gender == kaldi["spk2gender"]
    assert data.text == {utt: words.lower() for utt, words in kaldi["text"].items()}
    assert data.wav == kaldi["wav"] and data.segments is None
    assert len(data) == utterances
    genders = {speaker.split("-")[0]: value for speaker, value in data.spk2gender.items()}
    assert len(genders) == readers and sum(value == "f" for value in genders.values()) == women


def test_durations_are_those_of_the_decoded_audio(prepared):
    data = DataDir.read(prepared / "test_other")
    assert set(data.utt2dur) == set(data.utt2spk)
    for utt in data.utterances[::10]:
        samples, rate = soundfile.read(data.wav[utt])
        assert data.utt2dur[utt] == pytest.approx(len(samples) / rate, abs=1e-5)


def test_the_directories_are_valid_and_genders_survive_speed_perturbation(prepared, tmp_path):
    for name in ("train_clean_100", "test_clean", "dev"):
        validate(prepared / name)
    validate(prepared / "test_other", check_audio=True, expected_rate=16000)
    union = speed_perturb(prepared / "dev", tmp_path / "dev", [0.9, 1.0])[f"{tmp_path}/dev_sp"]
    plain = DataDir.read(prepared / "dev").spk2gender
    assert DataDir.read(tmp_path / "dev_sp").spk2gender == union.spk2gender
    assert union.spk2gender == plain | {f"sp0.9-{speaker}": value for speaker, value in plain.items()}


def test_statistics_and_what_is_odd_are_told(small_librispeech, tmp_path, capsys, caplog):
    options = ["--train_parts", "train-clean-100", "--dev_parts", "test-other", "--test_parts"]
    with caplog.at_level(logging.WARNING):
        run(small_librispeech, tmp_path, *options, "test-other test-clean train-clean-100")
    lines = capsys.readouterr().out.splitlines()
    sets = ["set", "train_clean_100", "test_clean", "test_other", "train_960", "dev"]
    assert [line.split()[0] for line in lines] == sets and lines[2].split()[1:3] == ["4", "2"]
    assert "OVERLAP: train-clean-100 in --train_parts and in --test_parts" in caplog.text
    assert "OVERLAP: test-other in --dev_parts and in --test_parts" in caplog.text
    assert "train_960 is not the 960 hours but train-clean-100" in caplog.text
    assert "test-clean: a slice, 4 of the 2620 utterances" in caplog.text


def test_unions_join_the_parts_of_their_list(small_librispeech, tmp_path):
    options = ["--train_parts", "train-clean-100,test-clean", "--train_set", "train_two"]
    run(small_librispeech, tmp_path, *options, "--dev_parts", "test-other", "--test_parts", "")
    whole = DataDir.read(tmp_path / "train_two")
    parts = [DataDir.read(tmp_path / name) for name in ("train_clean_100", "test_clean")]
    assert whole.utterances == sorted(parts[0].utterances + parts[1].utterances)
    assert whole.spk2gender == parts[0].spk2gender | parts[1].spk2gender
    assert whole.utt2dur == parts[0].utt2dur | parts[1].utt2dur
    dev, other = DataDir.read(tmp_path / "dev"), DataDir.read(tmp_path / "test_other")
    assert dev == other


def test_a_list_may_be_empty_and_a_union_may_have_its_part_s_name(small_librispeech, tmp_path):
    options = ["--train_parts", "", "--dev_parts", "test-other", "--dev_set", "test_other"]
    run(small_librispeech, tmp_path, *options, "--test_parts", "test-clean")
    assert {path.name for path in tmp_path.iterdir()} == {"test_clean", "test_other"}


def test_upper_case_is_the_corpus_s_own(small_librispeech, tmp_path):
    run(small_librispeech, tmp_path, *SLICES, "--case", "upper")
    text = DataDir.read(tmp_path / "test_clean").text
    own = kaldi_tables(small_librispeech / "test-clean")["text"]
    assert text == own and all(words == words.upper() for words in own.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train_parts", "train-clean-200"], r"--train_parts: 'train-clean-200' is no part"),
        (["--dev_parts", "dev-clean dev-clean"], r"--dev_parts: 'dev-clean' occurs 2 times"),
        (["--train_set", "dev"], r"--dev_set dev: means .* already"),
        (["--train_set", "test_clean"], r"--train_set test_clean: means test-clean already"),
        (["--train_parts", "", "--dev_parts", "", "--test_parts", ""], "all are empty"),
        (["--train_set", "../x"], "is no name of a set"),
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(options, message, small_librispeech, tmp_path):
    with pytest.raises(InputError, match=message):
        run(small_librispeech, tmp_path / "d", *options)
    assert not (tmp_path / "d").exists()


def test_a_missing_part_is_named_and_what_is_there(small_librispeech, tmp_path):
    with pytest.raises(InputError, match=r"lacks dev-clean, dev-other \(parts there: train-clean-100, "):
        run(small_librispeech, tmp_path, "--train_parts", "train-clean-100", "--test_parts", "")


def test_the_seven_parts_make_the_papers_sets_by_default():
    args = prepare_librispeech.get_parser().parse_args([])
    chosen = Selection(*(tuple(v.split()) for v in (args.train_parts, args.dev_parts, args.test_parts)))
    assert chosen.parts == list(PARTS) and len(PARTS) == 7
    assert sum(PARTS[part].utterances for part in chosen.unions["train_960"]) == 281_241
    assert chosen.unions["dev"] == ("dev-clean", "dev-other") and args.case == "lower"


def test_the_folder_is_found_from_above_and_hinted_at_from_below(small_librispeech, tmp_path):
    assert find(small_librispeech) == find(small_librispeech.parent) == small_librispeech
    (tmp_path / "mine").mkdir()
    shutil.copy(small_librispeech / "SPEAKERS.TXT", tmp_path / "mine")
    assert find(tmp_path) == tmp_path / "mine"
    shutil.copytree(tmp_path / "mine", tmp_path / "other")
    with pytest.raises(InputError, match="mine, other; give one"):
        find(tmp_path)
    with pytest.raises(InputError, match="give the folder above"):
        find(small_librispeech / "test-clean")
    with pytest.raises(InputError, match=r"nothing: has no SPEAKERS\.TXT"):
        find(tmp_path / "nothing")


def chapter(root: Path) -> Path:
    return sorted((root / "test-clean").glob("*/*"))[0]


def break_copy(root: Path, how: str) -> str:
    """Damage a copy; returns what the message must name."""
    folder = chapter(root)
    flac, trans = sorted(folder.glob("*.flac"))[0], next(folder.glob("*.trans.txt"))
    lines = trans.read_text().splitlines(keepends=True)
    match how:
        case "no transcript line":
            trans.write_text("".join(line for line in lines if not line.startswith(flac.stem)))
        case "no flac":
            flac.unlink()
        case "no trans file":
            trans.unlink()
            return str(folder)
        case "duplicate id":
            trans.write_text("".join([*lines, lines[0]]))
            return f"{trans}:3"
        case "duplicate flac":
            shutil.copy(flac, flac.with_suffix(".FLAC"))
            return str(folder)
        case "header only":
            flac.write_bytes(flac.read_bytes()[:42])
        case "no header":
            flac.write_bytes(flac.read_bytes()[:20])
        case "last byte missing":
            flac.write_bytes(flac.read_bytes()[:-1])
        case "empty":
            flac.write_bytes(b"")
        case "other rate":
            samples, _ = soundfile.read(flac)
            soundfile.write(flac, samples, 8000)
        case "empty transcript":
            trans.write_text(f"{flac.stem}\n{''.join(lines[1:])}")
            return f"{trans}:1"
        case "not UTF-8":
            trans.write_bytes(trans.read_bytes().replace(b" ", b" \xff", 1))
            return f"{trans}:1"
        case "cut short":
            trans.write_bytes(trans.read_bytes()[:-4])
            return str(trans)
        case "strange flac":
            shutil.copy(flac, folder / "1-2-0003.flac")
            return str(folder / "1-2-0003.flac")
        case "strange folder":
            shutil.copytree(folder, folder.with_name("mp3"))
            return str(folder.with_name("mp3"))
        case "strange reader":
            folder.parent.rename(root / "test-clean/999999")
            return "999999"
        case "nothing":
            shutil.rmtree(root / "test-clean")
            (root / "test-clean").mkdir()
            return str(root / "test-clean")
    return str(flac)


BROKEN = {
    "no transcript line": "flac without transcript line (1)",
    "no flac": "transcript line without flac (1)",
    "no trans file": "chapter without transcripts (1)",
    "duplicate id": "duplicate id (1)",
    "duplicate flac": "duplicate id (1)",
    "header only": "unreadable flac (1)",
    "no header": "unreadable flac (1)",
    "last byte missing": "unreadable flac (1)",
    "empty": "unreadable flac (1)",
    "other rate": "8000 Hz",
    "empty transcript": "empty transcript (1)",
    "not UTF-8": "not UTF-8 (1)",
    "cut short": "transcripts cut short (1)",
    "strange flac": "flac of another chapter (1)",
    "strange folder": "folder that is no number (1)",
    "strange reader": "reader not in SPEAKERS.TXT",
    "nothing": "no chapter (1)",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_damaged_copy_is_refused_naming_the_file(how, copy, tmp_path):
    place = break_copy(copy, how)
    with pytest.raises(InputError) as caught:
        run(copy, tmp_path / "data")
    assert BROKEN[how] in str(caught.value) and place in str(caught.value)
    assert "remedy:" in str(caught.value) and not (tmp_path / "data").exists()


def test_all_problems_come_in_one_message_five_of_a_kind(copy, tmp_path):
    flacs = sorted(
        path for part in ("test-clean", "train-clean-100") for path in (copy / part).rglob("*.flac")
    )
    assert len(flacs) == 8
    for path in flacs[:7]:
        path.write_bytes(b"")
    next((copy / "test-other").rglob("*.trans.txt")).unlink()
    with pytest.raises(InputError) as caught:
        run(copy, tmp_path / "data")
    lines = str(caught.value).splitlines()
    assert "8 problems" in lines[0] and "  unreadable flac (7):" in lines and "    … and 2 more" in lines
    assert sum("truncated or corrupt" in line for line in lines) == 5
    assert "  chapter without transcripts (1):" in lines


def test_a_broken_list_of_speakers_is_named_by_line(copy, tmp_path):
    (copy / "SPEAKERS.TXT").write_text(";comment\n19 | F | train-clean-100 | 25.19 | Kara | Lee\n26 | X\n")
    with pytest.raises(InputError, match=r"SPEAKERS\.TXT:3"):
        run(copy, tmp_path / "data")


def test_chapters_may_be_left_out(copy, tmp_path):
    gone = chapter(copy)
    shutil.rmtree(gone)
    (gone.parent / ".DS_Store").write_bytes(b"x")
    run(copy, tmp_path / "data")
    assert len(DataDir.read(tmp_path / "data/test_clean")) == 2


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {str(p): (s.st_mtime_ns, s.st_ino, p.read_bytes()) for p, s in found.items()}


def test_a_second_run_changes_nothing_and_reads_no_audio(copy, tmp_path, monkeypatch, capsys):
    run(copy, tmp_path / "data")
    first, before = capsys.readouterr().out, state(tmp_path / "data")
    monkeypatch.setattr(soundfile, "SoundFile", None)
    run(copy, tmp_path / "data")
    assert state(tmp_path / "data") == before and capsys.readouterr().out == first


def test_what_changed_is_made_again_and_only_that(copy, tmp_path):
    run(copy, tmp_path / "data")
    before = state(tmp_path / "data")
    trans = next(chapter(copy).glob("*.trans.txt"))
    trans.write_text(trans.read_text().replace(" ", " ANOTHER ", 1))
    run(copy, tmp_path / "data")
    changed = {name for name, value in state(tmp_path / "data").items() if before[name] != value}
    assert changed and {Path(name).parent.name for name in changed} == {"test_clean"}
    assert any(
        text.startswith("another ") for text in DataDir.read(tmp_path / "data/test_clean").text.values()
    )
    (tmp_path / "data/dev/utt2spk").unlink()  # as a kill in mid-write leaves it
    run(copy, tmp_path / "data")
    assert len(DataDir.read(tmp_path / "data/dev")) == 4
