"""Lengths of sequences: counted right, cut utterances and unknown tokens reported, mismatches named."""

import json

import pytest

from espnet_sld.bin import collect_shapes
from espnet_sld.errors import InputError
from espnet_sld.tokens.train import train_subword
from espnet_sld.units.unit_text import ids_to_text

UNITS = {"a": [0, 1, 2], "b": [3] * 40, "c": [4, 5]}
TEXT = {"a": "one two", "b": "two", "c": "two two two three"}


def write(path, rows):
    path.write_text(
        "".join(f"{key} {value}".rstrip() + "\n" for key, value in rows.items()), encoding="utf-8"
    )
    return path


@pytest.fixture
def files(tmp_path):
    write(tmp_path / "units", {key: ids_to_text(ids) for key, ids in UNITS.items()})
    write(tmp_path / "utt2dur", {"a": "1.0", "b": "8.0", "c": "1.0"})
    write(tmp_path / "lm", {"x": "one two"})
    train_subword([tmp_path / "lm"], tmp_path / "word", kind="text", model_type="word")
    write(tmp_path / "text", TEXT)
    return tmp_path


def run(folder, *more):
    arguments = (
        f"--speech_text {folder}/units --text {folder}/text --num_clusters 6 --text_token_type word "
        f"--text_token_path {folder}/word --max_positions 25 --max_text 3 --out_dir {folder}/out"
    )
    collect_shapes.main([*arguments.split(), *more])
    return json.loads((folder / "out" / "length_stats.json").read_text())


def test_shapes_and_statistics(files):
    stats = run(files)
    shapes = [(files / "out" / f"{name}_shape").read_text() for name in ("speech", "text", "sequence")]
    assert shapes == ["a 3\nb 40\nc 2\n", "a 2\nb 1\nc 4\n", "a 7\nb 23\nc 7\n"]
    assert stats["speech"] == {"total": 45, "mean": 15.0, "min": 2, "max": 40}
    assert (stats["cut_utterances"], stats["cut_tokens"], stats["cut_texts"]) == (1, 20, 1)
    assert (stats["units"], stats["unknown_units"], stats["unknown_text"]) == (45, 0, 1)
    assert stats["max_text_per_speech"] == 2.0 and stats["text"]["max"] == 4
    assert stats["speech_tokens_per_second"] == 4.5 and stats["seconds"] == 10
    assert stats["vocabulary"] == {
        "text": 5,
        "speech": 6,
        "image": 0,
        "specials": ["<text_end>", "<speech_end>"],
    }


def test_bound_on_text_length_holds_for_every_utterance_of_the_set(files):
    stats = run(files)
    for key, units in UNITS.items():
        kept = min(len(units), 20)
        assert len(TEXT[key].split()) <= stats["max_text_per_speech"] * kept


def test_ratio_is_to_the_speech_that_the_model_sees(files):
    for name, row in (("units", ids_to_text(UNITS["b"])), ("text", "two two")):
        write(files / name, {"b": row})
    assert run(files)["max_text_per_speech"] == 2 / 20  # 20 of 40 units are cut


def test_fresh_shapes_are_kept_and_changed_ones_redone(files):
    run(files)
    before = (files / "out" / "speech_shape").stat().st_mtime_ns
    run(files)
    assert (files / "out" / "speech_shape").stat().st_mtime_ns == before
    write(files / "text", {**TEXT, "a": "one"})
    assert run(files)["text"]["total"] == 6


def test_unknown_units_are_counted(files):
    train_subword([files / "units"], files / "uni", kind="unit", model_type="unigram", vocab_size=12)
    write(files / "units", {key: ids_to_text([6, 6, *ids]) for key, ids in UNITS.items()})
    path = [
        "--speech_token_type",
        "unigram",
        "--speech_token_path",
        str(files / "uni"),
        "--num_clusters",
        "7",
    ]
    stats = run(files, *path)
    assert (stats["units"], stats["unknown_units"]) == (51, 6)
    assert stats["unknown_unit_rate"] == pytest.approx(6 / 51)


@pytest.mark.parametrize(("name", "rows"), [("units", {"a": ids_to_text([0])}), ("text", {"a": "one"})])
def test_utterances_without_partner_are_counted_and_named(files, name, rows):
    write(files / name, rows)
    with pytest.raises(InputError, match=r"2 utterances of .* are not in .*: b c; make both again"):
        run(files)
    assert not (files / "out" / "speech_shape").exists()


def test_what_is_no_unit_names_file_and_utterance(files):
    write(files / "units", {**{key: ids_to_text(ids) for key, ids in UNITS.items()}, "b": ids_to_text([6])})
    with pytest.raises(InputError, match=r"units: utterance b: .* is no unit of 6 clusters"):
        run(files)


def test_utterance_without_units_or_set_without_utterances_is_an_input_error(files):
    write(files / "units", {**{key: ids_to_text(ids) for key, ids in UNITS.items()}, "b": ""})
    with pytest.raises(InputError, match="utterance b has no units"):
        run(files)
    (files / "units").write_text("")
    (files / "text").write_text("")
    with pytest.raises(InputError, match="no utterances"):
        run(files)
