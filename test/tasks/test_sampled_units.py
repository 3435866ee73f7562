"""Sampled segmentations in training: batches keep their budget, and a draw is a function of seed and step."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from espnet_sld.bin.train import load_task, main
from espnet_sld.criteria.base import build_criterion
from espnet_sld.errors import InputError
from espnet_sld.tasks.dataset import SequenceDataset
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tasks.sampling import SampledDataset, UnitSampling
from espnet_sld.tokens.train import train_subword

Task = load_task()
from espnet_sld.tasks import training_run  # noqa: E402
from espnet_sld.tasks.batching import TokenBatchSampler  # noqa: E402
from espnet_sld.tasks.iterator import StepIterFactory  # noqa: E402

DROPOUT = 0.3
MAX_POSITIONS = 32


@pytest.fixture(scope="module")
def pieces(token_dir: Path, tmp_path_factory) -> Path:
    """A bpe model of the units."""
    folder = tmp_path_factory.mktemp("pieces")
    train_subword([token_dir / "train.speech"], folder, kind="unit", model_type="bpe", vocab_size=80)
    return folder


@pytest.fixture(scope="module")
def preprocess(sequence_options, pieces: Path) -> SequencePreprocessor:
    options = sequence_options(
        speech_token_type="bpe", speech_token_path=str(pieces), max_positions=MAX_POSITIONS
    )
    return SequencePreprocessor.from_args(options)


@pytest.fixture(scope="module")
def files(token_dir: Path) -> list[tuple[str, str]]:
    return [(str(token_dir / "train.speech"), "speech"), (str(token_dir / "train.text"), "text")]


@pytest.fixture(scope="module")
def best(files, preprocess) -> SequenceDataset:
    return SequenceDataset(files, preprocess)


@pytest.fixture(scope="module")
def sampled(files, preprocess) -> SampledDataset:
    return SampledDataset(files, preprocess, UnitSampling(DROPOUT, 3))


def test_no_sequence_is_longer_than_batches_were_planned_for(sampled, best):
    assert sampled.growth > 1.1
    grown = 0
    for step in range(5):
        view = sampled.at(step)
        for index in range(len(sampled)):
            tokens, kinds = view[index]
            assert len(tokens) == len(kinds) <= sampled.lengths[index] <= MAX_POSITIONS
            assert len(tokens) >= len(best[index][0])
            grown += len(tokens) > len(best[index][0])
    assert grown > 0.5 * 5 * len(sampled)


def test_only_the_segmentation_is_drawn(sampled, best, preprocess):
    vocabulary, units = preprocess.vocabulary, preprocess.tokenizers["speech"]
    speech = vocabulary.range("speech")
    for index in range(20):
        decoded = []
        for tokens in (best[index][0], sampled.at(7)[index][0]):
            inside = [token - speech.start for token in tokens.tolist() if token in speech]
            decoded.append(
                (units.decode(inside), [token for token in tokens.tolist() if token not in speech])
            )
        assert decoded[0] == decoded[1]


def test_a_view_of_a_step_is_the_same_whenever_it_is_opened(sampled):
    first = [sampled.at(4)[index][0].tolist() for index in range(30)]
    sampled.at(9)[3]
    again = sampled.at(4)
    assert [again[index][0].tolist() for index in reversed(range(30))] == first[::-1]
    other = [sampled.at(5)[index][0].tolist() for index in range(30)]
    assert sum(a != b for a, b in zip(first, other, strict=True)) > 10


def test_counts_are_those_of_the_drawn_batch(sampled, preprocess):
    sizes = {kind: len(preprocess.vocabulary.range(kind)) for kind in ("text", "speech")}
    criterion = build_criterion(
        "speech_text", {}, text_vocabulary=sizes["text"], speech_vocabulary=sizes["speech"]
    )
    view = sampled.at(2)
    added = sum(view.counts(index, criterion) for index in range(9))
    _, batch = view.collate(np.arange(9))
    assert dict(zip(criterion.count_names, added, strict=True)) == criterion.counts(
        batch["tokens"], batch["kinds"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_processes_and_workers_see_one_stream(sampled, preprocess, num_workers):
    sizes = {kind: len(preprocess.vocabulary.range(kind)) for kind in ("text", "speech")}
    criterion = build_criterion(
        "speech_text", {}, text_vocabulary=sizes["text"], speech_vocabulary=sizes["speech"]
    )

    def batches(rank: int, world: int, workers: int = 0, epoch: int = 2) -> list[tuple]:
        sampler = TokenBatchSampler(sampled.lengths, 200, group=2, seed=1)
        factory = StepIterFactory(
            sampled, criterion, sampler, steps_per_epoch=3, rank=rank, world=world, num_workers=workers
        )
        found = []
        for names, batch in factory.build_iter(epoch):
            assert batch["tokens"].numel() <= 200
            found.append((names, batch["tokens"].tolist(), batch["step_counts"].tolist()))
        return found

    alone = batches(0, 1, num_workers)
    assert alone == batches(0, 1)
    assert alone[0::2] == batches(0, 2) and alone[1::2] == batches(1, 2)
    assert batches(0, 1, epoch=1) != alone


def test_a_stale_shape_file_is_named(files, preprocess, best, tmp_path):
    shape = tmp_path / "sequence_shape"
    lengths = best.lengths + (np.arange(len(best)) == 4)
    shape.write_text("".join(f"{n} {length}\n" for n, length in zip(best.utterances, lengths, strict=True)))
    with pytest.raises(InputError, match=f"sequence_shape: {best.utterances[4]} has"):
        SampledDataset(files, preprocess, UnitSampling(DROPOUT, 3), shape_file=str(shape))


@pytest.mark.parametrize(
    ("token_type", "dropout", "alpha", "message"),
    [
        ("unit", 0.1, None, "speech_bpe_dropout is for --speech_token_type bpe, not unit"),
        ("unigram", 0.1, None, "unigram has --speech_sampling_alpha"),
        ("bpe", 0.0, 0.2, "speech_sampling_alpha is for --speech_token_type unigram"),
        ("bpe", 1.0, None, "below 1"),
        ("unigram", 0.0, 0.0, "above 0"),
    ],
)
def test_an_option_that_cannot_act_is_refused(token_type, dropout, alpha, message):
    args = Namespace(
        speech_token_type=token_type, speech_bpe_dropout=dropout, speech_sampling_alpha=alpha, seed=0
    )
    with pytest.raises(InputError, match=message):
        UnitSampling.from_args(args)


def test_without_the_options_nothing_is_drawn():
    args = Namespace(speech_token_type="bpe", speech_bpe_dropout=0.0, speech_sampling_alpha=None, seed=0)
    assert UnitSampling.from_args(args) is None


@pytest.mark.slow
def test_a_resumed_training_draws_what_an_undisturbed_one_draws(
    runs, config, command, pieces, tmp_path, monkeypatch
):
    config |= {"speech_token_type": "bpe", "speech_token_path": str(pieces), "speech_bpe_dropout": DROPOUT}
    config["curriculum_steps"] = 0
    main(command(config, "undisturbed"))
    with monkeypatch.context() as patch:
        runs.kill_in(patch, training_run, "seed_epoch", 3)
        with pytest.raises(runs.Killed):
            main(command(config, "killed", "--resume", "true"))
    main(command(config, "killed", "--resume", "true"))
    main(command(config | {"speech_bpe_dropout": 0.0}, "plain"))
    found = {
        name: torch.load(tmp_path / name / "4epoch.pth", weights_only=True)
        for name in ("undisturbed", "killed", "plain")
    }
    names = found["plain"].keys()
    runs.assert_equal(found["undisturbed"], found["killed"])
    assert any(not torch.equal(found["undisturbed"][name], found["plain"][name]) for name in names)
