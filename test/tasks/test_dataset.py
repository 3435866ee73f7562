"""Token files → padded batches and counts; bad input is named."""

from pathlib import Path

import numpy as np
import pytest

from espnet_sld.criteria.base import build_criterion
from espnet_sld.errors import InputError
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.preprocess import SequencePreprocessor


@pytest.fixture
def preprocess(sequence_options) -> SequencePreprocessor:
    return SequencePreprocessor.from_args(sequence_options())


def open_set(token_dir: Path, preprocess, **options) -> SequenceDataset:
    return SequenceDataset(
        [(str(token_dir / "dev.speech"), "speech"), (str(token_dir / "dev.text"), "text")],
        preprocess,
        **options,
    )


def test_padding_is_on_the_right_and_has_no_kind(token_dir, preprocess) -> None:
    data = open_set(token_dir, preprocess)
    names, batch = data.collate(np.arange(5))
    assert names == data.utterances[:5]
    for row, length in enumerate(batch["lengths"].tolist()):
        assert length == data.lengths[row]
        assert (batch["tokens"][row, length:] == preprocess.pad_id).all()
        assert (batch["kinds"][row, length:] == 0).all()
        assert (batch["kinds"][row, :length] > 0).all()
        assert (batch["tokens"][row, :length] != preprocess.pad_id).all()


def test_counts_of_utterances_add_up_to_the_counts_of_their_batch(token_dir, preprocess) -> None:
    data = open_set(token_dir, preprocess)
    criterion = build_criterion("speech_text", {}, text_vocabulary=23, speech_vocabulary=30)
    _, batch = data.collate(np.arange(7))
    expected = criterion.counts(batch["tokens"], batch["kinds"])
    added = sum(data.counts(index, criterion) for index in range(7))
    assert dict(zip(criterion.count_names, added, strict=True)) == expected


def test_a_shape_file_gives_the_same_lengths_and_a_stale_one_is_named(
    token_dir, preprocess, tmp_path
) -> None:
    data = open_set(token_dir, preprocess)
    shape = tmp_path / "sequence_shape"
    lines = [f"{name} {length}\n" for name, length in zip(data.utterances, data.lengths, strict=True)]
    shape.write_text("".join(lines))
    again = open_set(token_dir, preprocess, shape_file=str(shape))
    assert (again.lengths == data.lengths).all()
    shape.write_text("".join([f"{data.utterances[0]} 999\n", *lines[1:]]))
    with pytest.raises(InputError, match=r"sequence_shape: dev0000 has 999 tokens there"):
        open_set(token_dir, preprocess, shape_file=str(shape)).collate([0])


def test_files_with_different_utterances_are_refused(token_dir, preprocess, tmp_path) -> None:
    text = (token_dir / "dev.text").read_text().splitlines(keepends=True)
    (tmp_path / "text").write_text("".join(text[1:]))
    pairs = [(str(token_dir / "dev.speech"), "speech"), (str(tmp_path / "text"), "text")]
    with pytest.raises(InputError, match=r"text: utterance dev0000 of .*dev\.speech is missing"):
        SequenceDataset(pairs, preprocess)
    with pytest.raises(InputError, match=r"dev\.speech: utterance dev0000 is not in"):
        SequenceDataset(pairs[::-1], preprocess)


def test_an_utterance_that_cannot_be_encoded_is_named(token_dir, preprocess, tmp_path) -> None:
    lines = (token_dir / "dev.speech").read_text(encoding="utf-8").splitlines(keepends=True)
    lines[2] = f"dev0002 {chr(0x4E00 + 500)}\n"
    (tmp_path / "speech").write_text("".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="utterance dev0002"):
        SequenceDataset(
            [(str(tmp_path / "speech"), "speech"), (str(token_dir / "dev.text"), "text")], preprocess
        )


def test_lengths_of_the_shape_stage_are_the_ones_that_training_sees(token_dir, preprocess, tmp_path) -> None:
    from espnet_sld.bin.collect_shapes import main

    arguments = ["--speech_text", f"{token_dir}/dev.speech", "--text", f"{token_dir}/dev.text"]
    arguments += ["--text_token_type", "word", "--text_token_path", str(token_dir), "--num_clusters", "30"]
    assert main([*arguments, "--max_positions", "64", "--max_text", "8", "--out_dir", str(tmp_path)]) == 0
    data = open_set(token_dir, preprocess, shape_file=str(tmp_path / "sequence_shape"))
    assert len(data.collate(np.arange(len(data)))[0]) == 23
