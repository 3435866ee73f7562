"""Mixtures of data sets: the file, what is sampled when, counts, lengths, and SLD as the simplest mixture."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from espnet_sld.bin import collect_mixture
from espnet_sld.bin.train import load_task, main
from espnet_sld.criteria import build_criterion
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.tasks.identity import TrainingRecord
from espnet_sld.tasks.mixture import MixtureBatchSampler, open_mixture
from espnet_sld.tasks.mixture_file import read_mixture, task_name
from espnet_sld.tasks.preprocess import SequencePreprocessor
from espnet_sld.tokens.train import train_subword

load_task()
from espnet_sld.tasks.iterator import StepIterFactory  # noqa: E402

IMAGES = [f"img{number:02d} {number % 4} 3 {number % 3} 0\n" for number in range(31)]


@pytest.fixture
def files(token_dir, tmp_path) -> dict[str, str]:
    (tmp_path / "image").write_text("".join(IMAGES))
    (tmp_path / "caption").write_text("".join(f"{line.split()[0]} w{line.split()[1]}\n" for line in IMAGES))
    train = {kind: str(token_dir / f"train.{kind}") for kind in ("speech", "text")}
    return {**train, "image": str(tmp_path / "image"), "caption": str(tmp_path / "caption")}


def entries(files: dict[str, str]) -> list[dict]:
    pair = {"speech": files["speech"], "text": files["text"]}
    return [
        {"name": "asr", "task": "asr", **pair, "weight": 2, "portion": 0.25},
        {"name": "tts", "task": "tts", **pair, "portion": [0.25, 0.5]},
        {"name": "mt", "task": "mt", "language": "xx", "text": files["text"], "target_text": files["text"]},
        {
            "name": "caption",
            "task": "caption",
            "image": files["image"],
            "text": files["caption"],
            "weight": 0.3,
        },
        {"name": "raw", "unlabelled": True, "portion": [0.5, 1.0], **pair},
    ]


def write(path: Path, train: list[dict], valid: list[dict] | None = None, **more) -> str:
    path.write_text(yaml.safe_dump({"train": train, "valid": valid or train, **more}), encoding="utf-8")
    return str(path)


@pytest.fixture
def options(files, token_dir, tmp_path) -> Namespace:
    return Namespace(
        mixture=write(tmp_path / "mixture.yaml", entries(files)), mixture_stats=None, template="asr_sld",
        text_token_type="word", text_token_path=str(token_dir), speech_token_type="unit",
        speech_token_path=None, num_clusters=30, num_image_tokens=4, max_positions=64, max_text=8,
        max_speech=None, max_image=None, mask_token=None, speech_bpe_dropout=0.0, speech_sampling_alpha=None,
        seed=0,
    )  # fmt: skip


def opened(options: Namespace, role: str = "train"):
    return open_mixture(options, role, SequencePreprocessor.from_args(options))


# -- the file ---------------------------------------------------------------------------------------
def test_a_mixture_names_sets_tasks_tokens_and_files(options, files):
    mixture = read_mixture(options.mixture)
    assert [(entry.name, entry.template.name, entry.weight) for entry in mixture.train] == [
        ("asr", "asr", 2.0), ("tts", "tts", 1.0), ("mt", "mt", 1.0), ("caption", "caption", 0.3),
        ("raw_speech", "speech_lm", 1.0), ("raw_text", "text_lm", 1.0),
    ]  # fmt: skip
    assert mixture.tasks[2] == task_name(mixture.train[2].template) == "mt <generatetranslation_xx>"
    assert mixture.specials[-1] == "<generatetranslation_xx>"
    assert sorted(mixture.files) == sorted(files.values())
    assert set(mixture.files) <= set(TrainingRecord(["--mixture", options.mixture]).begun.inputs)


def test_portions_with_the_same_ids_complete_each_other(options):
    asr, tts, _, _, raw, _ = read_mixture(options.mixture).train
    utterances = [f"u{number}" for number in range(41)]
    parts = [entry.choose(utterances) for entry in (asr, tts, raw)]
    assert sorted(utterance for part in parts for utterance in part) == sorted(utterances)
    assert [len(part) for part in parts] == [10, 10, 21]
    assert parts[0] == asr.choose(utterances[::-1])  # whatever the file's order


@pytest.mark.parametrize(
    ("group", "base", "copies"),
    [
        (None, "utt{}", ["{}", "sp0.9-{}", "sp1.1-{}"]),
        (r"^(digit-\d+)", "digit-{:04d}", ["{}-c0", "{}-c1", "{}-s1-c0", "{}-s2-c1"]),
    ],
)
def test_copies_of_one_item_are_on_one_side_of_a_portion(files, tmp_path, group, base, copies):
    both = {"speech": files["speech"], **({} if group is None else {"portion_group": group})}
    labelled = {"name": "a", "task": "asr", "text": files["text"], "portion": 0.1, **both}
    rest = {"name": "b", "task": "speech_lm", "portion": [0.1, 1.0], **both}
    sides = read_mixture(write(tmp_path / "groups.yaml", [labelled, rest])).train
    origin = {
        copy.format(base.format(number)): base.format(number) for number in range(200) for copy in copies
    }
    with_label, without = (entry.choose(list(origin)) for entry in sides)
    assert sorted([*with_label, *without]) == sorted(origin)
    assert {origin[name] for name in with_label}.isdisjoint(origin[name] for name in without)
    assert len({origin[name] for name in with_label}) == 20 and len(with_label) == 20 * len(copies)


def test_an_utterance_that_the_group_does_not_fit_is_named(files, tmp_path):
    entry = {"name": "a", "task": "speech_lm", "speech": files["speech"], "portion": 0.5}
    found = read_mixture(write(tmp_path / "g.yaml", [{**entry, "portion_group": "^(digit-[0-9]+)"}]))
    with pytest.raises(InputError, match=r"portion_group '.*' does not fit utterance utt1"):
        found.train[0].choose(["digit-1-c0", "utt1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "asr_"}, "no template 'asr_'"),
        ({"task": None}, "no template"),
        ({"speech": None}, "task asr needs exactly the files speech, text, got text"),
        ({"image": "x"}, "needs exactly the files"),
        ({"weigth": 3}, "unknown key weigth"),
        ({"weight": 0}, "weight must be a positive number, not '0'"),
        ({"weight": "a"}, "weight must be a positive number"),
        ({"portion": 1.5}, "portion must be"),
        ({"portion": [0.5, 0.5]}, "portion must be"),
        ({"portion_group": "utt[0-9]+"}, "portion_group must be a regular expression with a group"),
        ({"portion_group": "(utt"}, "portion_group .*: no regular expression"),
        ({"unlabelled": True}, "an unlabelled data set has no task"),
        ({"name": "a/b"}, "usable as a directory"),
        ({"name": None}, "mapping with at least a 'name'"),
        ({"task": "asr_sld", "language": "fr"}, "only to a task that has one"),
        ({"language": "fr", "generate_token": "<x>"}, "not both"),
        ({"generate_token": "x"}, "must be one word in angle brackets"),
    ],
)
def test_a_wrong_entry_is_named(files, tmp_path, change, message):
    good = {"name": "one", "task": "asr", "speech": files["speech"], "text": files["text"]}
    assert read_mixture(write(tmp_path / "good.yaml", [good])).tasks == ["asr <generatetext>"]
    with pytest.raises(InputError, match=message):
        read_mixture(write(tmp_path / "bad.yaml", [{**good, **change}]))


def test_a_wrong_file_is_named(files, tmp_path):
    good = {"name": "one", "task": "asr", "speech": files["speech"], "text": files["text"]}
    for content, message in (
        ("[", "not YAML"), ("- 1", "must be a mapping"), ("train: []", "'train' must be a list"),
        ("tain: []", "must be a mapping with the keys train, valid, specials"),
    ):  # fmt: skip
        (tmp_path / "m.yaml").write_text(content)
        with pytest.raises(InputError, match=message):
            read_mixture(tmp_path / "m.yaml")
    with pytest.raises(InputError, match="no such mixture"):
        read_mixture(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="two data sets of train are called 'one'"):
        read_mixture(write(tmp_path / "m.yaml", [good, good]))


def test_a_set_without_its_tokenizer_or_file_is_named(options, files, tmp_path):
    options.num_image_tokens = None
    with pytest.raises(InputError, match="task caption needs image tokens; give --num_image_tokens"):
        opened(options)
    bad = {"name": "one", "task": "asr", "speech": files["speech"], "text": str(tmp_path / "gone")}
    options.mixture = write(tmp_path / "m.yaml", [bad])
    with pytest.raises(InputError, match=r"m\.yaml, data set 'one': .*gone: no such file"):
        opened(options)


# -- the data ---------------------------------------------------------------------------------------
def test_every_sequence_is_its_own_tasks_and_counts_add_up(options):
    data = opened(options)
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


def test_a_pass_has_each_utterance_as_often_as_its_weight_says(options):
    data = opened(options)
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


def test_a_position_is_restored_and_another_mixtures_refused(options, files, tmp_path):
    data = opened(options)
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
    changed = entries(files)
    changed[0]["weight"] = 3
    options.mixture = write(tmp_path / "other.yaml", changed)
    with pytest.raises(InputError, match="mixture=asr:20x2"):
        MixtureBatchSampler(opened(options), 150, group=2, seed=3).load_state_dict(state)


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_processes_has_the_same_loss(options, world):
    data = opened(options)
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


def test_collected_lengths_are_those_of_training(options, token_dir, tmp_path):
    arguments = ["--mixture", options.mixture, "--out_dir", str(tmp_path / "stats"), "--num_clusters", "30",
                 "--text_token_type", "word", "--text_token_path", str(token_dir), "--num_image_tokens", "4",
                 "--max_positions", "64", "--max_text", "8"]  # fmt: skip
    assert collect_mixture.main(arguments) == 0
    expected = opened(options)
    options.mixture_stats = str(tmp_path / "stats")
    data = opened(options)
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


def test_sampled_units_are_drawn_anew_in_every_set_that_has_speech(options, token_dir, tmp_path):
    train_subword(
        [token_dir / "train.speech"], tmp_path / "bpe", kind="unit", model_type="bpe", vocab_size=80
    )
    options.speech_token_type, options.speech_token_path = "bpe", str(tmp_path / "bpe")
    options.speech_bpe_dropout = 0.3
    data, dev = opened(options), opened(options, "valid")
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


# -- SLD as a mixture -------------------------------------------------------------------------------
def test_one_set_of_weight_one_has_the_plain_samplers_stream(options, files, tmp_path):
    one = {"name": "sld", "task": "asr_sld", "speech": files["speech"], "text": files["text"]}
    options.mixture = write(tmp_path / "one.yaml", [one])
    data = opened(options)
    mixed, plain = (
        MixtureBatchSampler(data, 150, group=2, seed=4),
        TokenBatchSampler(data.lengths, 150, group=2, seed=4),
    )
    for _ in range(30):
        for one, other in zip(mixed.next_step(), plain.next_step(), strict=True):
            assert np.array_equal(one, other)


def test_sld_through_the_mixture_is_the_sld_task_bit_for_bit(config, command, token_dir, tmp_path, runs):
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
    mixture = write(tmp_path / "sld.yaml", sets["train"], sets["valid"])
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


def test_a_mixture_beside_data_options_is_refused(config, command, options):
    for more, message in (([], "leave out --train_data_path"), (None, "curriculum by length")):
        arguments = command(config, "both", "--mixture", options.mixture)
        if more is None:
            arguments = [word for word in arguments if "_data_path_" not in word and ",text" not in word]
        with pytest.raises(InputError, match=message):
            main(arguments)
