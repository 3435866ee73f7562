"""Parts and unions of data directories: shards, subsets, combination, and their commands."""

import os

import numpy as np
import pytest

from espnet_sld.bin import data_dir as data_dir_command
from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.corpus.partition import combine, split, subset
from espnet_sld.errors import InputError


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 6])
def test_shards_are_the_set_in_order_none_empty(data, shards):
    parts = split(data, shards)
    assert [utt for part in parts for utt in part.utterances] == data.utterances
    assert all(len(part) for part in parts) and len(parts) == shards


def test_shards_have_about_equal_duration():
    rng = np.random.default_rng(0)
    durations = {f"s-{i:04d}": float(x) for i, x in enumerate(rng.uniform(0.5, 15, 1000))}
    data = DataDir(dict.fromkeys(durations, "a"), dict.fromkeys(durations, "s"), utt2dur=durations)
    totals = [sum(part.utt2dur.values()) for part in split(data, 8)]
    assert max(totals) - min(totals) < 30


def test_more_shards_than_utterances_gives_empty_ones(data):
    parts = split(data, 9)
    assert len(parts) == 9 and sum(map(len, parts)) == 6


def test_subsets_by_each_criterion(data):
    assert subset(data, first=2).utterances == data.utterances[:2]
    assert set(subset(data, shortest=2).utterances) == {"spk0-utt0", "spk1-utt1"}
    assert subset(data, sample=3, seed=1).utterances == subset(data, sample=3, seed=1).utterances
    assert len(subset(data, sample=3).wav) == 3
    assert set(subset(data, speakers=["spk1"]).utt2spk.values()) == {"spk1"}
    for wrong in ({"first": 7}, {"first": 0}, {"utterances": ["x"]}, {}, {"first": 1, "sample": 1}):
        with pytest.raises(InputError):
            subset(data, **wrong)


def test_the_shortest_need_a_length_of_every_utterance():
    spans = {"a": Span("r", 0, 9), "b": Span("r", 9, 10), "c": Span("r", 10)}
    data = DataDir({"r": "r.wav"}, dict.fromkeys(spans, "s"), segments=spans)
    with pytest.raises(InputError, match="write utt2dur"):
        subset(data, shortest=1)
    assert subset(data.select("ab"), shortest=1).utterances == ["b"]
    data.utt2dur = {"a": 9.0, "b": 1.0, "c": 0.5}
    assert subset(data, shortest=1).utterances == ["c"]


def test_combining_the_shards_gives_the_set_again(data):
    union = combine(split(data, 3))
    assert union == data.select(data.utterances)


def test_genders_go_with_their_speakers(data):
    data.spk2gender = {"spk0": "f", "spk1": "m"}
    women = subset(data, speakers=["spk0"])
    men = subset(data, speakers=["spk1"])
    assert women.spk2gender == {"spk0": "f"} and combine([women, men]).spk2gender == data.spk2gender
    first, second = split(data, 2)
    assert combine([first, second]) == data
    men.spk2gender = None
    assert combine([women, men]).spk2gender is None
    second.spk2gender["spk0"] = "m"
    with pytest.raises(InputError, match="speaker spk0 is m and f"):
        combine([first, second])


def test_combining_refuses_what_would_be_ambiguous(data):
    with pytest.raises(InputError, match="occur in two sets"):
        combine([data, data])
    other = data.select(data.utterances[:1])
    other.utt2spk, other.text = {"x": "x"}, {}
    with pytest.raises(InputError, match="have no text"):
        combine([data, other])


def test_commands_split_subset_and_combine(data, tmp_path):
    folder = data.write(tmp_path / "d")
    assert data_dir_command.main(["split", str(folder), "2"]) == 0
    shards = [str(folder / "split2" / str(k)) for k in (1, 2)]
    assert data_dir_command.main(["combine", str(tmp_path / "all"), *shards]) == 0
    for name in ("text", "wav.scp", "utt2dur", "spk2utt"):
        assert (tmp_path / "all" / name).read_bytes() == (folder / name).read_bytes()
    assert data_dir_command.main(["subset", str(folder), str(tmp_path / "s"), "--shortest", "1"]) == 0
    assert DataDir.read(tmp_path / "s").utterances == ["spk0-utt0"]
    with pytest.raises(InputError, match="lower --nj"):
        data_dir_command.main(["split", str(folder), "7"])


def test_no_set_is_written_over_its_own_source(data, tmp_path):
    folder = str(data.write(tmp_path / "d"))
    for command in (["subset", folder, f"{folder}/", "--first", "1"], ["combine", folder, folder]):
        with pytest.raises(InputError, match="would be overwritten"):
            data_dir_command.main(command)
    assert len(DataDir.read(folder)) == 6


def test_shell_helpers_run_their_command(repo_root):
    for name in ("validate_data_dir", "fix_data_dir", "split_data_dir", "combine_data", "subset_data_dir"):
        helper = repo_root / "utils" / name
        assert os.access(helper, os.X_OK) and "exec python3 -m espnet_sld.bin." in helper.read_text()
