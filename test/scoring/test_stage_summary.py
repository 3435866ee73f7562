"""The line that ends a stage: what its files count, which are new, and what is missing."""

import json
from pathlib import Path

import pytest

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.files import write_json, write_table
from espnet_sld.scoring.stage_summary import duration, expand, state, summary
from espnet_sld.stamps import Stamp


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """An empty recipe folder, where the test is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_dir(path: str, utterances: int, seconds: float | None) -> str:
    names = [f"utt{number}" for number in range(utterances)]
    lengths = None if seconds is None else dict.fromkeys(names, seconds)
    audio, speakers = {name: f"{name}.wav" for name in names}, dict.fromkeys(names, "ann")
    DataDir(audio, speakers, text=dict.fromkeys(names, "one two"), utt2dur=lengths).write(path)
    return f"{path}/utt2spk"


def stamp(path: str, **result) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Stamp(path).write(**result)
    return path


def test_data_directories_are_counted_with_their_speech(folder):
    files = [data_dir("dump/raw/org/train", 1200, 3.61), data_dir("dump/raw/org/dev", 3, 2.0)]
    text = summary(files)
    assert text == "2 data directories (1 203 utterances, 1 h 12 min of speech) in dump/raw/org"
    assert summary([data_dir("data/x", 1, None)]) == "1 data directory (1 utterance) in data/x"


def test_stamps_are_added_up_over_sets(folder):
    one = {"utterances": 5, "seconds": 61.0, "units_ts": 3000, "units_rm": 2000, "entropy_bits_ts": 7.1}
    files = [stamp(f"dump/raw/{name}/mfcc_km40.done.json", **one) for name in ("train", "dev")]
    counts = "10 utterances, 2 min 2 s of speech, 6 000 units, 4 000 without repeats"
    assert summary(files) == f"units of 2 sets ({counts}) in dump/raw"


def test_only_what_was_written_since_counts_as_new(folder):
    files = [stamp(f"exp/x/decode/{name}/decode.done.json", utterances=7) for name in ("dev", "test")]
    before = state(files)
    assert summary(files) == "2 decoded sets (14 utterances) in exp/x/decode"
    assert summary(files, before) == f"nothing to do, all is there: {summary(files)}"
    stamp(files[1], utterances=9)
    assert summary(files, before) == "2 decoded sets (16 utterances) in exp/x/decode, 1 of them new"
    stamp(files[0], utterances=7)
    assert summary(files, before) == "2 decoded sets (16 utterances) in exp/x/decode"


def test_kinds_are_told_apart_and_lists_have_their_sizes(folder):
    for name, tokens in (("word_en", "a b c"), ("char_en", "a b")):
        Path("lists", name).mkdir(parents=True)
        Path("lists", name, "tokens.txt").write_text("\n".join(tokens.split()) + "\n")
    report = stamp("exp/unit_report/u/report.done.json")
    files = ["lists/word_en/tokens.txt", "lists/char_en/tokens.txt", report]
    assert summary(files) == "2 token lists (3, 2 tokens) in lists; 1 report of units in exp/unit_report/u"
    before = state([report])
    assert summary(files, before).endswith("; 1 report of units in exp/unit_report/u, there before")


def test_what_is_not_there_is_named(folder):
    there = stamp("a/decode.done.json", utterances=1)
    before = state([there, "b/decode.done.json"])
    assert summary([there, "b/decode.done.json"], before).endswith("; not there: b/decode.done.json")
    assert "nothing to do" not in summary([there, "b/decode.done.json"], before)
    assert summary([]) == "nothing to do"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("INFO: training finished after 12 epochs, 4m10s\n# Ended (code 0)\n", "1 trained model (12 epochs)"),
        ("INFO: The training was finished at 7 epochs \n", "1 trained model (7 epochs)"),
        ("the training is finished and its inputs are unchanged\n", "1 trained model"),
        (None, "1 trained model"),
    ],
)
def test_epochs_are_those_that_the_log_says(folder, log, words):
    path = stamp("exp/x/train.done.json")
    if log is not None:
        Path("exp/x/train.log").write_text(log)
    assert summary([path]) == f"{words} in exp/x"


def test_scores_are_named_by_set_and_by_their_task(folder):
    def result(name: str, **values) -> str:
        write_json(folder / name / "result.json", {"utterances": 10, **values})
        return f"{name}/result.json"

    asr = [result("e/asr/dev", wer=3.126), result("e/asr/test", wer=12.0)]
    assert summary(asr) == "2 scored sets (20 utterances, dev WER 3.13 %, test WER 12.00 %) in e/asr"
    more = [result("e/st/test", wer=40.0, bleu=87.12), result("e/caption/test", wer=9.0, class_accuracy=89.5)]
    text = summary([*asr[1:], *more])
    assert "asr/test WER 12.00 %, st/test BLEU 87.1, caption/test 89.5 % right) in e" in text
    many = [result(f"e/asr/t{number}", wer=1.0) for number in range(7)]
    assert summary(many) == "7 scored sets (70 utterances) in e/asr"


def test_tables_and_packs_are_measured(folder):
    write_table("dump/raw/train/text.ts.de", {"utt1": "eins", "utt2": "zwei"})
    assert summary(["dump/raw/train/text.ts.de"]) == "1 text (2 lines) in dump/raw/train"
    Path("pack/sub").mkdir(parents=True)
    Path("pack/sub/model.safetensors").write_bytes(bytes(3 << 20))
    Path("pack/manifest.json").write_text("{}")
    assert summary(["pack/manifest.json"]) == "1 pack (2 files, 3.0 MiB) in pack"


def test_soft_labels_and_lengths_are_counted(folder):
    labels = stamp(
        "exp/soft/train_word_k8.safetensors.json", report={"utterances": 9, "transcripts": 4, "tokens": 12}
    )
    lengths = stamp("exp/stats/train/shapes.done.json", utterances=9, sequence={"total": 90, "mean": 10.0})
    assert summary([labels]) == "soft labels of 1 set (9 utterances, 4 different transcripts) in exp/soft"
    assert summary([lengths]) == "lengths of 1 set (9 utterances, 90 tokens) in exp/stats/train"


def test_a_star_stands_for_the_data_sets_of_the_mixture_of_today(folder):
    lengths = {"utterances": 4, "sequence": {"total": 100, "mean": 25.0}}
    for name in ("train/asr", "train/raw_text", "train/gone", "valid/asr"):
        stamp(f"exp/stats/{name}/shapes.done.json", **lengths)
    patterns = ["exp/stats/train/*/shapes.done.json", "exp/stats/valid/*/shapes.done.json"]
    assert summary(patterns).startswith("lengths of 4 sets (16 utterances, 400 tokens) in exp/stats")
    Path("exp/stats/mixture.yaml").write_text("train:\n  - name: asr\n  - {name: raw, unlabelled: true}\n")
    assert [path.parent.name for path in expand(patterns)] == ["asr", "raw_text", "asr"]
    before = state(patterns)
    assert before.count("\n") == 2 and summary(patterns, before).startswith("nothing to do")


def test_a_damaged_file_is_named(folder):
    Path("result.json").write_text('{"wer": ')
    with pytest.raises(InputError, match=r"result\.json: not JSON"):
        summary(["result.json"])
    Path("utt2dur").write_text("utt1\n")
    Path("utt2spk").write_text("utt1 ann\n")
    with pytest.raises(InputError, match="utt2dur: 'utt1' is not"):
        summary(["utt2spk"])


def test_a_stamp_of_another_layout_is_counted_as_a_file_is(folder):
    Path("x_km40.done.json").write_text(json.dumps(["no", "object"]))
    assert summary(["x_km40.done.json"]) == "units of 1 set in ."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (4330, "1 h 12 min")],
)
def test_times_are_as_people_write_them(seconds, text):
    assert duration(seconds) == text
