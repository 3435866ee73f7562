"""What goes wrong while training is one clear message, and the state before it goes on to the same end."""

import contextlib
import os
import resource

import pytest
import torch

from espnet_sld import cli
from espnet_sld.bin.train import load_task, main
from espnet_sld.errors import InputError

load_task()
from espnet_sld.tasks import checkpoints, random_state, trainer, training_run  # noqa: E402
from espnet_sld.tasks.espnet_model import DecoderOnlyESPnetModel  # noqa: E402
from espnet_sld.tasks.memory import named, try_micro_batch  # noqa: E402
from espnet_sld.tasks.saving import BackgroundWriter  # noqa: E402


@contextlib.contextmanager
def largest_file(size: int):
    """No file may grow past `size` bytes: what a full disk or quota does to a long write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def undisturbed(config, command, tmp_path):
    main(command(config, "undisturbed"))
    return tmp_path / "undisturbed"


def test_a_full_disk_is_named_and_training_goes_on_when_there_is_room(
    runs, undisturbed, config, command, tmp_path, monkeypatch
) -> None:
    again = command(config, "full", "--resume", "true")
    size = (undisturbed / "4epoch.pth").stat().st_size
    with monkeypatch.context() as patch:
        runs.kill_in(patch, trainer, "_optimiser_step", 8)
        with pytest.raises(runs.Killed):
            main([*again, "--save_interval_steps", "3"])
    path = tmp_path / "full" / "checkpoint.pth"
    before = path.read_bytes()
    # An epoch's model would fit, a whole state does not: in the background, then at the end of an epoch.
    for steps in ("1", "0"):
        with (
            largest_file(2 * size),
            pytest.raises(InputError, match=r"checkpoint\.pth: the file grew past the limit"),
        ):
            main([*again, "--save_interval_steps", steps])
        assert path.read_bytes() == before
        assert not list((tmp_path / "full").glob(".*.tmp"))
    assert main(again) == 0
    runs.assert_same_training(tmp_path / "full", undisturbed)


def test_the_systems_own_reason_is_found_under_torchs(tmp_path) -> None:
    message = r"model\.pth: no space left on the device; free some.* is kept"
    clear = checkpoints.clear_failure(tmp_path / "model.pth")
    with pytest.raises(InputError, match=message), clear, open("/dev/full", "wb") as full:
        torch.save({"weight": torch.zeros(1_000_000)}, full)
    with pytest.raises(RuntimeError, match="another"), checkpoints.clear_failure(tmp_path / "model.pth"):
        raise RuntimeError("another")


def test_a_directory_that_may_not_be_written_is_named(config, command, token_dir, tmp_path) -> None:
    arguments = command(config, "locked")
    with unprivileged(tmp_path / "locked", token_dir), pytest.raises(SystemExit) as ended:
        cli.run(lambda: main(arguments))
    assert str(ended.value).startswith(f"error: {tmp_path}/locked/.train.begun.json.")
    assert str(ended.value).endswith("permission denied; check owner and mode")


@contextlib.contextmanager
def unprivileged(locked, *readable):
    """Root may write everywhere: be somebody who may not write `locked`."""
    locked.mkdir(mode=0o555)
    if os.geteuid() != 0:
        yield
        return
    for path in (*readable, *list(locked.parents)[:3]):
        path.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_background_write_that_failed_is_raised_once_in_the_training() -> None:
    writer = BackgroundWriter()

    def fail():
        raise InputError("disk")

    writer.start(fail)
    with pytest.raises(InputError, match="disk"):
        writer.join()
    writer.check()
    writer.join()


@pytest.fixture
def poison(monkeypatch):
    """Make the training loss NaN whenever one of these utterances is in the batch."""
    real, chosen = DecoderOnlyESPnetModel.forward, set()

    def poisoned(self, utt_id=(), **batch):
        out = real(self, **batch)
        if self.training and chosen & set(utt_id):
            out["loss"] = out["loss"] * float("nan")
        return out

    monkeypatch.setattr(DecoderOnlyESPnetModel, "forward", poisoned)
    return chosen


def test_a_loss_that_is_not_a_number_is_traced_to_its_utterances(
    runs, undisturbed, config, command, tmp_path, poison, caplog
) -> None:
    config |= {"num_iters_per_epoch": 10, "accum_grad": 2, "curriculum_portion": 1.0, "log_interval": 2}
    poison.add("train0007")
    main(command({**config, "max_epoch": 2}, "skips"))
    assert "1 steps skipped, the last one: step " in caplog.text
    assert "the loss of train" in caplog.text
    named_batches = [line for line in caplog.messages if "the loss of" in line]
    assert named_batches and all("train0007" in line or "more" in line for line in named_batches)
    poison.update(f"train{number:04d}" for number in range(80))
    again = command(config, "stops", "--resume", "true", "--max_skipped_steps", "2")
    with pytest.raises(
        InputError, match=r"in 2 steps in a row before step 2; .*step 2, the loss of train\d+, "
    ):
        main(again)


def test_the_state_before_a_bad_batch_is_kept_and_tolerance_can_be_raised(
    runs, config, command, tmp_path, poison
) -> None:
    again = command({**config, "log_interval": 1}, "bad", "--resume", "true", "--save_interval_steps", "1")
    real = DecoderOnlyESPnetModel.forward

    def bad_from_seventh(self, **batch):
        if self.training and batch["step"][0] in (6, 7):
            poison.update(batch["utt_id"])
        out = real(self, **batch)
        poison.clear()
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecoderOnlyESPnetModel, "forward", bad_from_seventh)
        with pytest.raises(InputError, match=r"in 1 steps in a row before step 7; .* is kept; --max_skipped"):
            main([*again, "--max_skipped_steps", "1"])
        assert checkpoints.load_checkpoint(tmp_path / "bad")["position"]["step"] == 1
        assert main(again) == 0
    figures = runs.statistics(tmp_path / "bad")
    assert figures[2]["train"]["skipped_steps"] == 2


def out_of_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB. Of it …")


def test_out_of_memory_names_the_batch_and_the_remedy(
    runs, undisturbed, config, command, tmp_path, monkeypatch
):
    again = command(config, "small_gpu", "--resume", "true", "--save_interval_steps", "2")
    with monkeypatch.context() as patch:
        runs.call_at(patch, trainer, "_optimiser_step", 8, out_of_memory)
        with pytest.raises(InputError) as error:
            main(again)
    message = str(error.value)
    assert message.startswith(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB in step 3 of epoch 2: "
    )
    assert "batch_bins=200 (train00" in message and "the last saved state is kept" in message
    assert main(again) == 0
    runs.assert_same_training(tmp_path / "small_gpu", undisturbed)


def test_trying_the_largest_batch_changes_nothing_and_refuses_what_does_not_fit(
    runs, undisturbed, config, command, tmp_path, monkeypatch
) -> None:
    """As on a GPU, where it is done before training."""
    tried, resume = [], training_run._resume

    def try_first(saver, factory, agreement, options):
        resumed = resume(saver, factory, agreement, options)
        before = random_state.capture()
        model, (optimizer,) = saver.state.model, saver.state.optimizers
        _, batch = factory.largest()
        tried.append(batch["tokens"].numel())
        trainer.DecoderOnlyTrainer.try_largest_batch(model, optimizer, factory, options)
        assert torch.equal(random_state.capture(), before)
        assert all(parameter.grad is None for parameter in model.parameters())
        return resumed

    monkeypatch.setattr(training_run, "_resume", try_first)
    main(command(config, "tried"))
    runs.assert_same_training(tmp_path / "tried", undisturbed)
    assert 150 < tried[0] <= 200
    monkeypatch.setattr(DecoderOnlyESPnetModel, "forward", out_of_memory)
    with pytest.raises(
        InputError, match=r"tried before training: \d+ utterances × \d+ tokens = .*lower --batch_bins"
    ):
        main(command(config, "does_not_fit"))


def test_trying_a_micro_batch_leaves_running_statistics_as_they_were() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    state = list(model.parameters()), list(model.buffers())
    try_micro_batch(lambda rows: model(rows).sum(), torch.randn(8, 3) + 5.0, optimizer, *state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_long_list_of_utterances_is_cut() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named([str(number) for number in range(9)], 3) == "0, 1, 2 and 6 more"
