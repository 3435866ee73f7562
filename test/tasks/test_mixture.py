"""Mixtures of data sets: what is sampled when, counts, lengths, and SLD as the simplest mixture."""

import json

import numpy as np
import pytest
import torch

from espnet_sld.bin import collect_mixture
from espnet_sld.bin.train import load_task, main
from espnet_sld.criteria import build_criterion
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.tasks.mixture import MixtureBatchSampler
from espnet_sld.tokens.train import train_subword

load_task()
from espnet_sld.tasks.iterator import StepIterFactory  # noqa: E402


def test_every_sequence_is_its_own_tasks_and_counts_add_up(mixtures):
    data = mixtures.opened()
    assert len(data) == 20 + 20 + 80 + 31 + 40 + 40
    begins = {
        "asr": "<startofspeech>",
        "tts": "<startoftext>",
        "mt": "<startoftext>",
        "caption": "<startofimage>",
        "raw_text": "<generatetext>",
        "raw_speech": "<generatespeech>",
    }
    vocabulary = data.preprocess.vocabulary
    for index in range(len(data)):
        tokens, kinds = data[index]
        assert len(tokens) == len(kinds) == data.lengths[index]
        assert tokens[0] == vocabulary.id(begins[data.utterances[index].split("/")[0]])
    criterion = build_criterion(
        "modality", {}, text_vocabulary=23, speech_vocabulary=30, image_vocabulary=4, max_positions=64
    )
    chosen = np.array([0, 25, 60, 130, 160, 200])
    names, batch = data.collate(chosen)
    assert names == [data.utterances[index] for index in chosen]
    added = sum(data.counts(int(index), criterion) for index in chosen)
    assert dict(zip(criterion.count_names, added, strict=True)) == criterion.counts(
        batch["tokens"], batch["kinds"]
    )


def test_a_pass_has_each_utterance_as_often_as_its_weight_says(mixtures):
    data = mixtures.opened()
    sampler = MixtureBatchSampler(data, 200, seed=3)
    seen = np.zeros(len(data), dtype=int)
    for number in range(10):
        indices = np.concatenate(sampler.pass_batches(1, number))
        seen += np.bincount(indices, minlength=len(data))
        for start, stop, entry in zip(data.starts[:-1], data.starts[1:], data.entries, strict=True):
            own = seen[start:stop]
            assert own.max() - own.min() <= 1  # nobody a second time before everybody once
            assert own.sum() == round((number + 1) * entry.weight * (stop - start))
    first = [np.sort(np.concatenate(sampler.pass_batches(1, number))) for number in (0, 1)]
    assert not np.array_equal(*first)  # 0.3 of the captions: others each time


def test_a_position_is_restored_and_another_mixtures_refused(mixtures):
    data = mixtures.opened()
    sampler = MixtureBatchSampler(data, 150, group=2, seed=3)
    steps = [sampler.next_step() for _ in range(40)]
    again = MixtureBatchSampler(data, 150, group=2, seed=3)
    again.seek(17)
    state = again.state_dict()
    third = MixtureBatchSampler(data, 150, group=2, seed=3)
    third.load_state_dict(state)
    for expected in steps[17:]:
        for one, two, three in zip(expected, again.next_step(), third.next_step(), strict=True):
            assert np.array_equal(one, two)
            assert np.array_equal(one, three)
    mixtures.entries[0]["weight"] = 3
    mixtures.options.mixture = mixtures.write("other.yaml", mixtures.entries)
    with pytest.raises(InputError, match="mixture=asr:20x2"):
        MixtureBatchSampler(mixtures.opened(), 150, group=2, seed=3).load_state_dict(state)


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_processes_has_the_same_loss(mixtures, world):
    data = mixtures.opened()
    criterion = build_criterion(
        "modality", {"normalisation": "batch"}, text_vocabulary=23, speech_vocabulary=30, image_vocabulary=4
    )
    generator = torch.Generator().manual_seed(0)
    size = data.preprocess.vocabulary.size
    table, matrix = (torch.randn(size, 6, generator=generator, dtype=torch.float64) for _ in range(2))

    def loss_of_step(world: int) -> float:
        total = 0.0
        for rank in range(world):
            sampler = MixtureBatchSampler(data, 300, group=2, seed=1)
            factory = StepIterFactory(data, criterion, sampler, steps_per_epoch=3, rank=rank, world=world)
            for _, batch in factory.build_iter(1):
                parts = criterion(table[batch["tokens"]], matrix, batch["tokens"], batch["kinds"])
                counts = dict(zip(criterion.count_names, batch["step_counts"], strict=True))
                total += float(criterion.total(parts, counts))
        return total

    assert loss_of_step(world) == pytest.approx(loss_of_step(1), rel=1e-12)


def test_collected_lengths_are_those_of_training(mixtures, token_dir, tmp_path):
    arguments = ["--mixture", mixtures.options.mixture, "--out_dir", str(tmp_path / "stats"),
                 "--num_clusters", "30", "--text_token_type", "word", "--text_token_path", str(token_dir),
                 "--num_image_tokens", "4", "--max_positions", "64", "--max_text", "8"]  # fmt: skip
    assert collect_mixture.main(arguments) == 0
    expected = mixtures.opened()
    mixtures.options.mixture_stats = str(tmp_path / "stats")
    data = mixtures.opened()
    assert (data.utterances, data.lengths.tolist()) == (expected.utterances, expected.lengths.tolist())
    report = json.loads((tmp_path / "stats/train/tts/length_stats.json").read_text())
    spoken, words = (read_table(token_dir / f"train.{kind}") for kind in ("speech", "text"))
    used = [name.split("/")[1] for name in data.utterances if name.startswith("tts/")]
    ratios = [len(spoken[name]) / len(words[name].split()) for name in used]
    assert report["max_target_per_condition"] == pytest.approx(max(ratios))
    assert (report["utterances"], report["utterances_left_out"], report["cut_targets"]) == (20, 60, 0)
    assert report["task_name"] == "tts <generatespeech>"
    stamp = (tmp_path / "stats/train/tts/shapes.done.json").stat().st_mtime_ns
    collect_mixture.main(arguments)
    assert (tmp_path / "stats/train/tts/shapes.done.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="missing option: --mixture"):
        collect_mixture.main(["--out_dir", "x"])
    widened = [entry | ({"portion": 0.5} if entry["name"] == "asr" else {}) for entry in mixtures.entries]
    mixtures.write("mixture.yaml", widened)
    with pytest.raises(InputError, match=r"asr/sequence_shape: measured with portion \[0.0, 0.25\].*again"):
        mixtures.opened()


@pytest.mark.slow
def test_sampled_units_are_drawn_anew_in_every_set_that_has_speech(mixtures, token_dir, tmp_path):
    train_subword(
        [token_dir / "train.speech"], tmp_path / "bpe", kind="unit", model_type="bpe", vocab_size=80
    )
    mixtures.options.speech_token_type, mixtures.options.speech_token_path = "bpe", str(tmp_path / "bpe")
    mixtures.options.speech_bpe_dropout = 0.3
    data, dev = mixtures.opened(), mixtures.opened("valid")
    assert dev.at(3) is dev
    one, two = data.at(1), data.at(2)
    changed = {"asr": 0, "tts": 0, "raw_speech": 0}
    for index, name in enumerate(data.utterances):
        same = np.array_equal(one[index][0], two[index][0])
        assert same or name.split("/")[0] in changed
        if not same:
            changed[name.split("/")[0]] += 1
        assert len(one[index][0]) <= data.lengths[index]
        assert np.array_equal(one[index][0], data.at(1)[index][0])
    assert min(changed.values()) > 5
    _, batch = two.collate([0, 25])
    assert batch["lengths"].tolist() == [len(two[0][0]), len(two[25][0])]


def test_one_set_of_weight_one_has_the_plain_samplers_stream(mixtures):
    sld = {"name": "sld", "task": "asr_sld", **mixtures.pair}
    mixtures.options.mixture = mixtures.write("one.yaml", [sld])
    data = mixtures.opened()
    mixed, plain = (
        MixtureBatchSampler(data, 150, group=2, seed=4),
        TokenBatchSampler(data.lengths, 150, group=2, seed=4),
    )
    for _ in range(30):
        for one, other in zip(mixed.next_step(), plain.next_step(), strict=True):
            assert np.array_equal(one, other)


def test_sld_through_the_mixture_is_the_sld_task_bit_for_bit(
    config, command, token_dir, tmp_path, runs, mixtures
):
    config |= {"curriculum_portion": 1.0, "curriculum_steps": 0, "max_epoch": 2, "accum_grad": 2}
    config |= {"num_iters_per_epoch": 6, "criterion_conf": {"objective": "sld", "alpha": 0.02}}
    main(command(config, "plain"))
    sets = {
        role: [
            {
                "name": "sld",
                "task": "asr_sld",
                "speech": f"{token_dir}/{stem}.speech",
                "text": f"{token_dir}/{stem}.text",
            }
        ]
        for role, stem in (("train", "train"), ("valid", "dev"))
    }
    mixture = mixtures.write("sld.yaml", sets["train"], sets["valid"])
    weights = {"lambda_text": 1.0, "lambda_speech": 1.0, "speech_objective": "sld", "alpha": 0.02}
    config |= {"criterion": "modality", "criterion_conf": weights}
    arguments = [
        word for word in command(config, "mixed") if "_data_path_" not in word and ",text" not in word
    ]
    main([*arguments, "--mixture", mixture])
    for epoch in (1, 2):
        runs.assert_equal(
            *(
                torch.load(tmp_path / name / f"{epoch}epoch.pth", weights_only=True)
                for name in ("plain", "mixed")
            )
        )
    plain, mixed = (runs.statistics(tmp_path / name) for name in ("plain", "mixed"))
    for epoch, phases in plain.items():
        for phase, figures in phases.items():
            assert {name: mixed[epoch][phase][name] for name in figures} == figures


def test_a_mixture_beside_data_options_is_refused(config, command, mixtures):
    for more, message in (([], "leave out --train_data_path"), (None, "curriculum by length")):
        arguments = command(config, "both", "--mixture", mixtures.options.mixture)
        if more is None:
            arguments = [word for word in arguments if "_data_path_" not in word and ",text" not in word]
        with pytest.raises(InputError, match=message):
            main(arguments)
