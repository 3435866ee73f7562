"""Training through the command: it learns, resumes bit-equal, survives damage, and says what is wrong."""

import logging
from pathlib import Path

import pytest
import torch
import yaml

from espnet_sld.bin.train import load_task, main
from espnet_sld.errors import InputError

Task = load_task()
from espnet_sld.tasks import checkpoints, training_run  # noqa: E402
from espnet_sld.tasks.command_line import parse_options  # noqa: E402


def parameters(directory: Path, epoch: int) -> dict[str, torch.Tensor]:
    return torch.load(directory / f"{epoch}epoch.pth", weights_only=True)


def statistics(directory: Path) -> dict:
    return checkpoints.load_checkpoint(directory)["reporter"]["stats"]


@pytest.fixture
def undisturbed(config, command, tmp_path) -> Path:
    main(command(config, "undisturbed"))
    return tmp_path / "undisturbed"


@pytest.mark.parametrize("place", ["seed_epoch", "save_checkpoint", "update_links", "remove_models"])
def test_a_killed_training_resumes_to_bit_equal_parameters(
    runs, undisturbed, config, command, tmp_path, monkeypatch, place: str
) -> None:
    with monkeypatch.context() as patch:
        runs.kill_in(patch, training_run if place == "seed_epoch" else checkpoints, place, 3)
        with pytest.raises(runs.Killed):
            main(command(config, "killed", "--resume", "true"))
    main(command(config, "killed", "--resume", "true"))
    runs.assert_equal(parameters(tmp_path / "killed", 4), parameters(undisturbed, 4))
    names = {path.name: path.is_symlink() and path.readlink() for path in undisturbed.glob("*.pth")}
    assert {
        path.name: path.is_symlink() and path.readlink() for path in (tmp_path / "killed").glob("*.pth")
    } == names


def test_a_damaged_checkpoint_costs_one_epoch_and_changes_nothing(
    runs, undisturbed, config, command, tmp_path, caplog
) -> None:
    path = undisturbed / "checkpoint.pth"
    expected = parameters(undisturbed, 4)
    path.write_bytes(path.read_bytes()[:-200])
    (undisturbed / "4epoch.pth").unlink()
    (undisturbed / "train.done.json").unlink(missing_ok=True)  # as if killed before the end
    with caplog.at_level(logging.WARNING):
        main(command(config, "undisturbed", "--resume", "true"))
    assert "checkpoint.pth is damaged" in caplog.text
    assert (undisturbed / "checkpoint.pth.damaged").exists()
    runs.assert_equal(parameters(undisturbed, 4), expected)


def test_measuring_the_device_does_not_disturb_the_random_numbers() -> None:
    from espnet_sld.tasks.meters import peak_flops

    peak_flops.cache_clear()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert peak_flops(torch.device("cpu"), False) > 0
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("Tesla T4", 65e12),
        ("NVIDIA RTX A4000", 1.0),
        ("NVIDIA RTX A1000 Laptop GPU", 1.0),
    ],
)
def test_a_device_has_the_peak_of_its_own_name_or_a_measured_one(name, peak, monkeypatch) -> None:
    from espnet_sld.tasks import meters

    monkeypatch.setattr(meters.torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(meters, "measured_peak", lambda *_: 1.0)
    assert meters.peak_flops.__wrapped__(torch.device("cuda"), True) == peak


@pytest.mark.parametrize(("emulated", "dtype"), [(True, torch.float16), (False, torch.bfloat16)])
def test_half_precision_is_what_the_device_has_and_not_what_torch_emulates(
    emulated, dtype, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    supported = lambda including_emulation=True: including_emulation or not emulated  # noqa: E731
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert training_run.amp_dtype() == dtype


def test_training_lowers_the_loss_and_writes_what_inference_reads(undisturbed, config) -> None:
    stats = statistics(undisturbed)
    assert stats[4]["valid"]["ce_text"] < stats[1]["valid"]["ce_text"]
    assert {"loss", "ce_text", "ce_speech", "kl", "acc_text"} <= stats[4]["valid"].keys()
    assert {"tokens_per_second", "mfu", "padding", "grad_norm", "lr"} <= stats[4]["train"].keys()
    assert stats[4]["train"]["total_count"] == 20
    saved = yaml.safe_load((undisturbed / "config.yaml").read_text(encoding="utf-8"))
    for key in (
        *("backbone_source", "backbone_conf", "backbone_resolved", "init_new_rows", "vocabulary", "pad_id"),
        *("speech_token_type", "speech_token_path", "num_clusters", "text_token_type", "text_token_path"),
        *("template", "max_positions", "max_text", "dropout", "attention_dropout", "residual_dropout"),
    ):
        assert key in saved
    assert saved["vocabulary"]["speech"] == 30
    best = torch.load(undisturbed / "valid.ce_text.ave.pth", weights_only=True)
    assert all(name.startswith("model.") for name in best)


def test_accumulation_logs_and_learns_as_the_whole_batch(config, command, tmp_path) -> None:
    """Two micro-batches of 3 utterances against one of 6: the same steps, the same logged loss."""
    same = {
        "dropout": 0.0,
        "time_mask_prob": 0.0,
        "max_epoch": 1,
        "train_dtype": "float64",
        "curriculum_portion": 1.0,
    }
    lengths = {}
    for name, accum in (("whole", 1), ("parts", 2)):
        from espnet_sld.tasks.batching import TokenBatchSampler

        def next_step(self, accum=accum):
            rows = range(self.step * 6, self.step * 6 + 6)
            self.step += 1
            return [list(rows)[part * (6 // accum) : (part + 1) * (6 // accum)] for part in range(accum)]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TokenBatchSampler, "next_step", next_step)
            main(command({**config, **same, "accum_grad": accum, "num_iters_per_epoch": 5 * accum}, name))
        lengths[name] = statistics(tmp_path / name)[1]
    for phase in ("train", "valid"):
        for key in ("loss", "ce_text", "ce_speech", "kl", "acc_text"):
            assert lengths["parts"][phase][key] == pytest.approx(lengths["whole"][phase][key], rel=1e-6)
    first, second = parameters(tmp_path / "whole", 1), parameters(tmp_path / "parts", 1)
    for name in first:
        assert torch.allclose(first[name], second[name], rtol=1e-4, atol=1e-6)


def test_the_dev_loss_does_not_depend_on_how_the_set_is_batched(config, command, tmp_path) -> None:
    config = {**config, "max_epoch": 1, "num_iters_per_epoch": 1}
    main(command({**config, "valid_batch_bins": 64}, "small"))
    main(command({**config, "valid_batch_bins": 2000}, "large"))
    small, large = (statistics(tmp_path / name)[1]["valid"] for name in ("small", "large"))
    for key in ("loss", "ce_text", "kl", "acc_text"):
        assert small[key] == pytest.approx(large[key], rel=1e-5)


def test_gradients_that_are_not_finite_are_skipped_and_too_many_stop_training(
    config, command, tmp_path, monkeypatch
) -> None:
    from espnet_sld.tasks.espnet_model import DecoderOnlyESPnetModel

    real = DecoderOnlyESPnetModel.forward

    def poisoned(self, **batch):
        out = real(self, **batch)
        if self.training and batch["step"][0] in self.bad_steps:
            out["loss"] = out["loss"] * float("nan")
        return out

    monkeypatch.setattr(DecoderOnlyESPnetModel, "forward", poisoned)
    config = {**config, "max_epoch": 1, "num_iters_per_epoch": 6}
    monkeypatch.setattr(DecoderOnlyESPnetModel, "bad_steps", {1, 3}, raising=False)
    main(command(config, "skips"))
    stats = statistics(tmp_path / "skips")[1]["train"]
    assert stats["skipped_steps"] == 2
    assert all(torch.isfinite(value).all() for value in parameters(tmp_path / "skips", 1).values())
    monkeypatch.setattr(DecoderOnlyESPnetModel, "bad_steps", {2, 3, 4})
    with pytest.raises(
        InputError, match="inf or NaN in 3 steps in a row before step 6; lower the learning rate"
    ):
        main(command(config, "stops", "--max_skipped_steps", "3"))


def test_a_skipped_step_is_named_also_in_mixed_precision(
    config, command, tmp_path, monkeypatch, caplog
) -> None:
    """bfloat16 has no loss scale that would explain it."""
    from espnet_sld.tasks.espnet_model import DecoderOnlyESPnetModel

    real = DecoderOnlyESPnetModel.forward

    def bad_gradient(self, **batch):
        out = real(self, **batch)
        if self.training and batch["step"][0] == 1:
            out["loss"] = out["loss"] + (self.model.output_matrix().sum() * 0.0).sqrt()  # 0, of slope NaN
        return out

    monkeypatch.setattr(DecoderOnlyESPnetModel, "forward", bad_gradient)
    config = {**config, "max_epoch": 1, "num_iters_per_epoch": 3, "use_amp": True}
    with caplog.at_level(logging.WARNING):
        main(command(config, "skips"))
    assert "1 steps skipped, the last one: step 2, the gradient of train" in caplog.text


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(
    runs, undisturbed, config, command, monkeypatch
) -> None:
    path = undisturbed / "checkpoint.pth"
    path.write_bytes(path.read_bytes()[:-200])
    (undisturbed / "train.done.json").unlink()
    with monkeypatch.context() as patch:
        runs.kill_in(patch, checkpoints, "save", 2)  # the model of epoch 4 is written, its checkpoint is not
        with pytest.raises(runs.Killed):
            main(command(config, "undisturbed", "--resume", "true"))
    assert max(statistics(undisturbed)) == 3


def test_a_pickle_is_not_read_as_parameters_to_start_from(config, command, tmp_path) -> None:
    import os

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"model.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"evil.pth: damaged, or not a file of parameters"):
        main(command(config, "tuned", "--init_param", str(tmp_path / "evil.pth")))
    assert not (tmp_path / "pwned").exists()


def test_other_parameters_can_be_loaded_to_start_from(undisturbed, config, command, tmp_path) -> None:
    config = {
        **config,
        "max_epoch": 1,
        "num_iters_per_epoch": 1,
        "optim_conf": {"lr": 1e-12, "weight_decay": 0.0},
    }
    main(command(config, "tuned", "--init_param", str(undisturbed / "4epoch.pth")))
    first, second = parameters(undisturbed, 4), parameters(tmp_path / "tuned", 1)
    assert all(torch.allclose(first[name], second[name], atol=1e-8) for name in first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1.0}, "unrecognized arguments: learning_rate"),
        ({"batch_bin": 1}, "did you mean batch_bins"),
        ({"criterion_conf": {"objectiv": "sld"}}, "unknown option objectiv"),
        ({"backbone_conf": {"model_type": "llama", "hiden_size": 3}}, "has no option hiden_size"),
        ({"optim_conf": {"learning_rate": 3}}, "optim_conf: unknown option learning_rate"),
        ({"scheduler_conf": {"warmup": 3}}, "scheduler_conf: unknown option warmup; known: warmup_steps"),
        ({"num_iters_per_epoch": 5, "accum_grad": 2}, "multiple of accum_grad"),
        ({"num_clusters": None}, "missing option: --num_clusters"),
        ({"use_deepspeed": True}, "--use_deepspeed True is not supported"),
        ({"batch_type": "numel"}, "--batch_type numel is not supported"),
        ({"ddp_comm_hook": "bf16_compress_hook"}, "--ddp_comm_hook bf16_compress_hook is not supported"),
        ({"use_tf32": True, "use_amp": True}, "--use_tf32 is for training without --use_amp"),
        ({"init_param": ["nowhere.pth"]}, "nowhere.pth: no such file"),
        ({"train_data_path_and_name_and_type": []}, "expected FILE,speech,text"),
    ],
)
def test_a_bad_option_is_one_clear_message(config, command, change, message) -> None:
    arguments = command({**config, **change}, "bad")
    if "train_data_path_and_name_and_type" in change:
        place = arguments.index("--train_data_path_and_name_and_type")
        del arguments[place : place + 2]
    with pytest.raises(InputError, match=message):
        main(arguments)


def test_numbers_need_no_dot(config, command) -> None:
    config["criterion_conf"] = {"objective": "sld", "alpha": "8e-3"}
    arguments = command(config, "dot", "--optim_conf", "lr=2e-3", "--optim_conf", "eps=1.5E-9")
    args = parse_options(Task.get_parser(), arguments)
    assert args.optim_conf == {"lr": 0.002, "eps": 1.5e-9}
    assert args.criterion_conf == {"objective": "sld", "alpha": 0.008}
    assert args.backbone_conf == config["backbone_conf"]


def test_abbreviated_options_and_broken_yaml_are_refused(config, command, tmp_path) -> None:
    with pytest.raises(InputError, match="--max_epo"):
        main(command(config, "bad", "--max_epo", "2"))
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"--config: not YAML .*broken.yaml"):
        main(command(config, "bad", "--config", str(tmp_path / "broken.yaml")))


def test_a_checkpoint_of_another_model_is_refused(undisturbed, config, command) -> None:
    config = {**config, "backbone_conf": {**config["backbone_conf"], "hidden_size": 16}}
    (undisturbed / "train.begun.json").unlink(missing_ok=True)  # else refused by the options already
    with pytest.raises(InputError, match="of another model"):
        main(command(config, "undisturbed", "--resume", "true"))


def test_help_fits_a_screen_and_print_config_shows_the_values(config, command, capsys) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 40 and max(map(len, text.splitlines())) <= 120
    with pytest.raises(SystemExit) as ended:
        main(command(config, "printed", "--print_config"))
    assert ended.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["batch_bins"] == 200
