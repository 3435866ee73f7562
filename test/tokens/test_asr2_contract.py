"""A dump directory that keeps asr2's contract passes; each breach is named."""

from pathlib import Path

import pytest

from espnet_sld.bin import check_asr2_compat
from espnet_sld.errors import InputError
from espnet_sld.tokens.asr2_contract import check_contract
from espnet_sld.tokens.train import train_subword
from espnet_sld.units.unit_text import deduplicate, ids_to_text, write_character_list

LABELS = {"a-1": [3, 3, 17, 17, 5], "a-2": [5, 6, 6], "b-1": [17, 3, 3, 3]}
WORDS = {"a-1": "one two", "a-2": "two", "b-1": "three"}
SUFFIX = "wavlm_large_21_km20"


def write(path: Path, rows: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} {value}\n" for key, value in rows.items()), encoding="utf-8")


@pytest.fixture
def dump(tmp_path) -> Path:
    """A small dump as tokenize.sh leaves it, made of the same functions."""
    folder = tmp_path / "dump" / "raw" / "train"
    write(folder / f"text.ts.{SUFFIX}", {utt: ids_to_text(ids) for utt, ids in LABELS.items()})
    write(folder / f"text.rm.{SUFFIX}", {u: ids_to_text(deduplicate(i)[0]) for u, i in LABELS.items()})
    write(folder / "text.ts.en", WORDS)
    write(folder / "utt2spk", {utt: utt[0] for utt in WORDS})
    (folder / "feats_type").write_text("raw\n")
    extracted = tmp_path / "dump" / "extracted" / "wavlm_large" / "layer21" / "train"
    write(extracted / "pseudo_labels_km20.txt", {u: " ".join(map(str, i)) for u, i in LABELS.items()})
    write_character_list(tmp_path / "exp" / "kmeans" / "distinct_cjk_token_lists")
    lists = tmp_path / "data" / "token_list"
    for kind, model_type, name, source in (
        ("unit", "unigram", "src_bpe_unigram8_rm", f"text.rm.{SUFFIX}"),
        ("unit", "char", f"char_rm_{SUFFIX}", f"text.rm.{SUFFIX}"),
        ("text", "word", "word_en", "text.ts.en"),
    ):
        size = 8 if model_type == "unigram" else 0
        train_subword([folder / source], lists / name, kind=kind, model_type=model_type, vocab_size=size)
    return tmp_path


def check(root: Path):
    return check_contract(root / "dump", root / "data" / "token_list", root / "exp" / "kmeans")


def test_what_the_stages_write_keeps_the_contract(dump, capsys):
    assert check(dump).problems == []
    arguments = [str(dump / "dump"), "--token_dir", str(dump / "data/token_list")]
    assert check_asr2_compat.main([*arguments, "--kmeans_dir", str(dump / "exp/kmeans")]) == 0
    assert "keeps asr2's contract" in capsys.readouterr().out


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


RAW = "dump/raw/train"
BREACHES = {
    "a short character list": ("exp/kmeans/distinct_cjk_token_lists", "17 丑\n", "", "20902 lines"),
    "a character of another K": (f"{RAW}/text.ts.{SUFFIX}", ids_to_text([17]), ids_to_text([20]), "no unit"),
    "a repetition under rm": (
        f"{RAW}/text.rm.{SUFFIX}",
        ids_to_text([6]),
        ids_to_text([6, 6]),
        "without repetitions",
    ),
    "a lost transcript": (f"{RAW}/text.ts.en", "b-1 three\n", "", "other utterances"),
    "a lost speaker": (f"{RAW}/utt2spk", "b-1 b\n", "", "other utterances"),
    "a lost set type": (f"{RAW}/feats_type", "raw", "flac", "must say raw"),
    "labels of another extraction": (
        "dump/extracted/wavlm_large/layer21/train/pseudo_labels_km20.txt",
        "a-2 5",
        "a-2 4",
        "not the units",
    ),
    "a piece out of order": (
        "data/token_list/src_bpe_unigram8_rm/tokens.txt",
        "<unk>\n",
        "<unk>\nx\n",
        "not the pieces",
    ),
    "no end symbol": ("data/token_list/word_en/tokens.txt", "<sos/eos>\n", "", "must begin with"),
    "a word among characters": (f"data/token_list/char_rm_{SUFFIX}/tokens.txt", "丅", "丅x", "one character"),
}


@pytest.mark.parametrize("name", sorted(BREACHES))
def test_each_breach_is_named(name, dump, capsys):
    path, old, new, words = BREACHES[name]
    edit(dump / path, old, new)
    problems = check(dump).problems
    assert any(words in problem and Path(path).name in problem for problem in problems), problems
    arguments = [str(dump / "dump"), "--token_dir", str(dump / "data/token_list")]
    assert check_asr2_compat.main([*arguments, "--kmeans_dir", str(dump / "exp/kmeans")]) == 1
    assert words in capsys.readouterr().err


def test_a_folder_without_units_says_which_stages_to_run(tmp_path):
    with pytest.raises(InputError, match="run stages 1-4"):
        check(tmp_path)
