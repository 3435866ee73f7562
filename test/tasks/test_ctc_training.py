"""CTC training through the command: it learns, its steps are exact, and it says what is wrong."""

import logging
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from transformers import BertConfig, BertForMaskedLM

from espnet_sld.bin.train_ctc import load_task, main
from espnet_sld.criteria.distillation import ROWS
from espnet_sld.errors import REQUEUE, InputError
from espnet_sld.models.soft_label_store import SoftLabelStore, SoftLabelWriter
from espnet_sld.models.teacher import MaskedTeacher
from espnet_sld.tasks.command_line import parse_options
from espnet_sld.tokens.target_ids import TargetIds
from espnet_sld.tokens.texts import read_texts

Task = load_task()
from espnet_sld.tasks import checkpoints, trainer  # noqa: E402
from espnet_sld.tasks.ctc_dataset import CtcDataset, check_frames  # noqa: E402
from espnet_sld.tasks.ctc_espnet_model import CtcObjective, token_errors  # noqa: E402
from espnet_sld.tasks.iterator import _Steps  # noqa: E402
from espnet_sld.tasks.midway import Midway  # noqa: E402


@pytest.fixture(scope="session")
def soft_labels(token_dir, tmp_path_factory) -> str:
    """A small random teacher's labels of the training set."""
    targets = TargetIds("word", token_dir / "tokens.txt")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=targets.size + 1, **sizes)).eval()
    ids = {"mask_id": targets.size, "pad_id": 0, "start_id": None, "end_id": None}
    teacher = MaskedTeacher(model, range(targets.size), range(2, targets.size - 1), **ids)
    utterances = {name: targets.encode(text) for name, text in read_texts([token_dir / "train.text"])}
    path = tmp_path_factory.mktemp("teacher") / "soft_labels.safetensors"
    SoftLabelWriter(path, utterances, lambda: teacher, {"teacher": "random"}, k=4).write()
    return str(path)


@pytest.fixture
def parts(ctc_config, command, soft_labels):
    """Model in float64 without dropout, data and criterion of the row with everything in it."""
    conf = ctc_config["encoder_conf"] | {"dropout_rate": 0.0, "positional_dropout_rate": 0.0}
    changes = {"encoder_conf": conf, "criterion_conf": {"row": "interaed_kd"}, "self_conditioning": True}
    changes["decoder_conf"] = {**ctc_config["decoder_conf"], "dropout_rate": 0.0}
    arguments = command({**ctc_config, **changes}, "parts", "--soft_labels", soft_labels)
    args = parse_options(Task.get_parser(), arguments)
    args.output_dir = None
    torch.manual_seed(0)
    model = Task.build_model(args).double().train()
    data = open_train(args, soft_labels)
    return model, data, model.criterion


def open_train(args, soft_labels=None) -> CtcDataset:
    triples = args.train_data_path_and_name_and_type
    tokenizers = Task.build_preprocess_fn(args, True)
    text = next(path for path, name, _ in triples if name == "text")
    store = soft_labels and SoftLabelStore(soft_labels)
    return CtcDataset(Task.speech(args, triples, tokenizers), text, tokenizers.targets, store)


def gradients(model, batches, divide: int = 1) -> torch.Tensor:
    model.zero_grad()
    for _, batch in batches:
        (model(**batch)["loss"] / divide).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_the_step_s_loss_does_not_depend_on_micro_batches_or_processes(parts) -> None:
    model, data, criterion = parts
    whole = gradients(model, _Steps([[np.arange(6)]], data, criterion)[0])
    for count in (2, 3):
        plan = [np.array_split(np.arange(6), count)]
        assert torch.allclose(gradients(model, _Steps(plan, data, criterion)[0], count), whole, rtol=1e-9)
    for world in (2, 4, 8):  # of eight, two have no utterance of their own
        shares = [_Steps([[np.arange(6)]], data, criterion, rank=rank, world=world) for rank in range(world)]
        ours = sum(gradients(model, share[0]) for share in shares) / world
        assert torch.allclose(ours, whole, rtol=1e-9, atol=1e-12)
        assert [len(share[0][0][0]) for share in shares].count(0) == max(0, world - 6)


def test_a_batch_s_loss_is_the_mean_over_its_utterances_one_by_one(parts) -> None:
    model, data, criterion = parts
    (_, batch) = _Steps([[np.arange(5)]], data, criterion)[0][0]
    together = model(**batch)
    names, sums = together["names"], together["sums"]
    alone = [_Steps([[np.array([row])]], data, criterion)[0][0][1] for row in range(5)]
    each = torch.stack([model(**one)["sums"] for one in alone])
    assert torch.allclose(sums, each.sum(0), rtol=1e-9)
    value = dict(zip(names, (sums / 5).tolist(), strict=True))
    expected = sum(weight * value[name] for name, weight in criterion.weights.items())
    assert together["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert set(criterion.weights) == {"ctc", "ctc_inter", "aed", "aed_inter"}


def figures(directory) -> dict:
    return checkpoints.load_checkpoint(directory)["reporter"]["stats"]


@pytest.mark.slow
def test_training_lowers_the_loss_and_writes_what_inference_reads(ctc_config, command, tmp_path) -> None:
    from espnet_sld.inference.ctc_checkpoint import load_ctc

    changes = {"num_iters_per_epoch": 30, "criterion_conf": {"row": "interctc"}, "encoder": "transformer"}
    changes["encoder_conf"] = {key: ctc_config["encoder_conf"][key] for key in ("output_size", "num_blocks")}
    changes["encoder_conf"] |= {"attention_heads": 2, "linear_units": 32}
    assert main(command({**ctc_config, **changes}, "exp")) == 0
    stats = figures(tmp_path / "exp")
    assert stats[4]["valid"]["ctc"] < 0.5 * stats[1]["valid"]["ctc"]
    assert stats[4]["valid"]["ter"] < 60
    assert {"loss", "ctc", "ctc_inter", "infeasible", "grad_norm"} <= stats[4]["train"].keys()
    assert "mfu" not in stats[4]["train"]
    saved = yaml.safe_load((tmp_path / "exp" / "config.yaml").read_text(encoding="utf-8"))
    assert saved["interctc_layers"] == [1, 2] and saved["criterion_weights"]["ctc_inter"] == 0.5
    assert (saved["target_vocabulary"], saved["unit_vocabulary"]) == (23, 30)
    trained = load_ctc(tmp_path / "exp" / "valid.ter.ave.pth")
    assert not trained.model.training and trained.model.decoders is None


@pytest.mark.slow
def test_every_row_trains_and_starts_from_the_same_model(ctc_config, command, soft_labels, tmp_path) -> None:
    changes = {"max_epoch": 1, "num_iters_per_epoch": 1, "optim_conf": {"lr": 0.0}, "self_conditioning": True}
    dev, starts = {}, {}
    for row, weights in ROWS.items():
        config = {**ctc_config, **changes, "criterion_conf": {"row": row}}
        more = ["--soft_labels", soft_labels] if weights.soft_label_weight else []
        assert main(command(config, row, *more)) == 0
        stats = figures(tmp_path / row)[1]
        saved = yaml.safe_load((tmp_path / row / "config.yaml").read_text())["criterion_weights"]
        assert set(saved) - {"beta"} <= set(stats["train"])
        dev[row] = (stats["valid"]["ctc"], stats["valid"]["ter"])
        model = torch.load(tmp_path / row / "1epoch.pth", weights_only=True)
        starts[row] = {name: value for name, value in model.items() if ".decoders." not in name}
    assert len(set(dev.values())) == 1  # nothing was learnt: the same model, and dev figures that compare
    for start in starts.values():
        assert start.keys() == starts["ctc"].keys()
        assert all(torch.equal(value, starts["ctc"][name]) for name, value in start.items())


@pytest.mark.slow
def test_killed_and_stopped_it_ends_with_the_same_parameters(
    runs, ctc_config, command, soft_labels, tmp_path, monkeypatch
) -> None:
    specaug = {"apply_time_warp": False, "time_mask_width_range": [1, 3], "freq_mask_width_range": [0, 4]}
    changes = {"criterion_conf": {"row": "interaed_kd"}, "specaug": "specaug", "specaug_conf": specaug}
    more = ("--soft_labels", soft_labels)
    config = {**ctc_config, **changes, "accum_grad": 2, "num_iters_per_epoch": 10, "max_epoch": 2}
    assert main(command(config, "undisturbed", *more)) == 0
    again = command(config, "disturbed", "--resume", "true", "--save_interval_steps", "2", *more)
    with monkeypatch.context() as patch:
        runs.kill_in(patch, Midway, "step_done", 4)
        with pytest.raises(runs.Killed):
            main(again)
    with monkeypatch.context() as patch:
        runs.signal_in(patch, trainer, "_optimiser_step", 4)
        assert main(again) == REQUEUE
    assert main(again) == 0
    runs.assert_same_training(tmp_path / "disturbed", tmp_path / "undisturbed")


def test_token_errors_are_those_of_the_collapsed_best_path() -> None:
    labels = torch.tensor([[1, 1, 0, 1, 2, 0], [3, 0, 3, 3, 0, 0]])
    log_probs = torch.nn.functional.one_hot(labels, 5).float().log_softmax(-1)
    targets = torch.tensor([[1, 1, 2], [3, 4, 0]])
    lengths = torch.tensor([6, 4])
    assert token_errors(log_probs, lengths, targets, torch.tensor([3, 2])) == 1  # the 4 that was said 3
    assert token_errors(log_probs, lengths, targets, torch.tensor([2, 0])) == 1 + 2


def test_utterances_without_frames_enough_are_listed_or_refused(
    ctc_config, command, token_dir, tmp_path, caplog
) -> None:
    changes = {"unit_subsampling": 4, "max_epoch": 1, "num_iters_per_epoch": 2}  # 3 units a word: too few
    with caplog.at_level(logging.WARNING):
        assert main(command({**ctc_config, **changes}, "kept")) == 0
    assert "utterances have fewer frames than CTC needs" in caplog.text
    rows = [line.split() for line in (tmp_path / "kept" / "infeasible_train.txt").read_text().splitlines()]
    transcripts = dict(read_texts([token_dir / "train.text"]))
    units = dict(read_texts([token_dir / "train.speech"]))

    def needs(text: str) -> int:
        words = text.split()
        return len(words) + sum(one == two for one, two in pairwise(words))

    expected = [
        [name, str(-(-len(units[name]) // 4)), str(needs(text))]
        for name, text in sorted(transcripts.items())
        if -(-len(units[name]) // 4) < needs(text)
    ]
    assert rows == expected and 0 < len(rows) < len(transcripts)
    with pytest.raises(InputError, match=r"fewer frames than CTC needs.*--infeasible keep"):
        main(command({**ctc_config, **changes}, "refused", "--infeasible", "refuse"))


def test_what_has_no_frame_at_all_is_refused(parts, tmp_path) -> None:
    _, data, _ = parts
    with pytest.raises(InputError, match="too short for one frame after subsampling"):
        check_frames(data, lambda lengths: lengths - int(lengths.min()), None, refuse=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"criterion_conf": {"row": "interaed_kd"}}, "give --soft_labels FILE"),
        ({"criterion_conf": {"row": "kd"}}, "row is one of ctc, interctc"),
        ({"criterion_conf": {"lambda": 1}}, "unknown option lambda"),
        ({"interctc_layers": "none"}, "there is no intermediate layer"),
        ({"interctc_layers": "1 two"}, "must be layer numbers from 1"),
        ({"encoder_conf": {"blocks": 3}}, "unknown option blocks"),
        ({"decoder_conf": {"blocks": 3}}, "decoder_conf: .*blocks"),
        ({"token_list": None}, "missing option: --token_list"),
        ({"num_clusters": None}, "missing option: --num_clusters"),
        ({"input": "text"}, "--input text: must be units or fbank"),
        ({"input": "fbank"}, "speech is the wav.scp of a data directory"),
        ({"unit_subsampling": 3}, "must be 1, 2 or 4"),
        (
            {"self_conditioning": True, "interctc_layers": "none", "criterion_conf": {"row": "ctc"}},
            "there is no intermediate layer",
        ),
        ({"train_shape_file": ["x"]}, "leave out --train_shape_file"),
        ({"encodr": "conformer"}, "did you mean encoder"),
    ],
)
def test_a_bad_option_is_one_clear_message(ctc_config, command, change, message) -> None:
    with pytest.raises(InputError, match=message):
        main(command({**ctc_config, **change}, "bad"))


def test_labels_of_another_transcript_or_without_an_utterance_are_refused(
    ctc_config, command, soft_labels, token_dir, tmp_path
) -> None:
    config = {**ctc_config, "criterion_conf": {"row": "aed_kd"}, "max_epoch": 1}
    text = (token_dir / "train.text").read_text().splitlines()
    for name, lines in (("other", [*text[:-1], text[-1] + " w1"]), ("more", [*text, "zzz w1"])):
        (tmp_path / f"{name}.text").write_text("\n".join(lines) + "\n")
        (tmp_path / f"{name}.speech").write_text(
            (token_dir / "train.speech").read_text() + ("zzz 一丁\n" if name == "more" else "")
        )
        arguments = command(config, name, "--soft_labels", soft_labels)
        arguments = [word.replace(f"{token_dir}/train", f"{tmp_path}/{name}") for word in arguments]
        with pytest.raises(InputError, match=r"another transcript|no soft labels of zzz"):
            main(arguments)


def test_a_curriculum_begins_with_the_shortest_utterances(ctc_config, command) -> None:
    early = {"curriculum_portion": 0.25, "curriculum_steps": 0.5, "max_epoch": 2, "num_iters_per_epoch": 4}
    args = parse_options(Task.get_parser(), command({**ctc_config, **early}, "early"))
    data = open_train(args)
    options = SimpleNamespace(train=True, distributed=False, batch_bins=60, num_iters_per_epoch=4)
    criterion = CtcObjective({"row": "ctc"}, 23)
    sampler = Task.make_factory(args, options, data, criterion).sampler
    steps = [np.concatenate(sampler.next_step()) for _ in range(5)]
    lengths, quarter = np.asarray(data.lengths), len(data) // 4
    assert all(lengths[step].max() <= np.sort(lengths)[quarter - 1] for step in steps[:4])
    assert sampler.curriculum_steps == 4 and sampler.state_dict()["phase"] == 1


def test_help_fits_a_screen(capsys) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 40 and max(map(len, text.splitlines())) <= 110
