"""A training that is stopped or killed in the middle of an epoch loses nothing: the end is bit-equal."""

import logging
import signal
import threading

import pytest
import torch

from espnet_sld.bin.train import load_task, main
from espnet_sld.errors import REQUEUE, InputError
from espnet_sld.jobs.result import REQUEUE as JOBS_REQUEUE

load_task()
from espnet_sld.tasks import checkpoints, trainer, training_run  # noqa: E402
from espnet_sld.tasks.midway import Midway  # noqa: E402
from espnet_sld.tasks.saving import Saver, snapshot  # noqa: E402


@pytest.fixture
def small(config) -> dict:
    """4 epochs of 5 steps, one layer of 16."""
    config["backbone_conf"] |= {"hidden_size": 16, "intermediate_size": 32}
    return config


def position(directory) -> tuple[int, int]:
    """(epoch, step) at which the newest state stands."""
    place = checkpoints.load_checkpoint(directory)["position"]
    return place["epoch"], place["step"]


def test_the_code_that_asks_for_another_start_is_the_one_that_submitters_know() -> None:
    assert REQUEUE == JOBS_REQUEUE == 85


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accum_grad": 2, "num_iters_per_epoch": 10, "log_interval": 3},
        {"num_workers": 1, "max_epoch": 2},
        {
            "num_iters_per_epoch": None,
            "max_epoch": 2,
            "scheduler": None,
            "best_model_criterion": [["valid", "kl", "min"]],
        },
    ],
    ids=["plain", "accumulated", "workers", "whole_passes"],
)
@pytest.mark.slow
def test_killed_or_stopped_at_any_place_it_ends_with_the_same_parameters(
    runs, small, command, tmp_path, monkeypatch, changes
) -> None:
    config = {**small, **changes}
    assert main(command(config, "undisturbed")) == 0
    again = command(config, "disturbed", "--resume", "true", "--save_interval_steps", "2")
    for step in (2, 4):  # steps of that run: the second is in another epoch
        with monkeypatch.context() as patch:
            runs.kill_in(patch, Midway, "step_done", step)
            with pytest.raises(runs.Killed):
                main(again)
        with monkeypatch.context() as patch:
            runs.signal_in(patch, trainer, "_optimiser_step", step)
            assert main(again) == REQUEUE
    assert main(again) == 0
    runs.assert_same_training(tmp_path / "disturbed", tmp_path / "undisturbed")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_asks_for_another_start(
    runs, small, command, tmp_path, monkeypatch, caplog, number
) -> None:
    before = signal.getsignal(number)  # a job in the background ignores SIGINT
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        runs.signal_in(patch, trainer, "_optimiser_step", 8, number)
        assert main(command(small, "stopped")) == REQUEUE
    assert position(tmp_path / "stopped") == (2, 3)
    assert f"stopped on request ({number.name}) after step 3 of epoch 2: the state is saved" in caplog.text
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_does_not_wait_for_the_step(runs, small, command, tmp_path, monkeypatch) -> None:
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    runs.call_at(monkeypatch, trainer, "_optimiser_step", 2, twice)
    with pytest.raises(KeyboardInterrupt):
        main(command(small, "broken_off"))
    assert not (tmp_path / "broken_off" / "checkpoint.pth").exists()


@pytest.mark.slow
def test_a_stop_between_epochs_or_in_validation_loses_no_step(
    runs, small, command, tmp_path, monkeypatch
) -> None:
    main(command(small, "undisturbed"))
    again = command(small, "disturbed", "--resume", "true")
    with monkeypatch.context() as patch:  # while the data are read
        runs.signal_in(patch, training_run, "load_agreed", 1)
        assert main(again) == REQUEUE
    assert not (tmp_path / "disturbed" / "checkpoint.pth").exists()
    with monkeypatch.context() as patch:
        runs.signal_in(patch, Midway, "validating", 1)
        assert main(again) == REQUEUE
    assert position(tmp_path / "disturbed") == (1, 5)
    with monkeypatch.context() as patch:  # once more, before a step was done
        runs.signal_in(patch, Midway, "validating", 2)
        assert main(again) == REQUEUE
    assert position(tmp_path / "disturbed") == (1, 5)
    with monkeypatch.context() as patch:  # at the end of the first epoch
        runs.signal_in(patch, Saver, "save_epoch", 1)
        assert main(again) == REQUEUE
    assert "position" not in checkpoints.load_checkpoint(tmp_path / "disturbed")
    assert main(again) == 0
    runs.assert_same_training(tmp_path / "disturbed", tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_damaged_state_costs_the_steps_since_the_one_before(
    runs, small, command, tmp_path, monkeypatch
) -> None:
    main(command(small, "undisturbed"))
    again = command(small, "disturbed", "--resume", "true", "--save_interval_steps", "1")
    with monkeypatch.context() as patch:
        runs.signal_in(patch, trainer, "_optimiser_step", 9)
        assert main(again) == REQUEUE
    path = tmp_path / "disturbed" / "checkpoint.pth"
    path.write_bytes(path.read_bytes()[:-300])
    assert main(again) == 0
    runs.assert_same_training(tmp_path / "disturbed", tmp_path / "undisturbed")


@pytest.mark.slow
def test_states_are_saved_by_number_or_by_time_and_never_if_neither(
    small, command, tmp_path, monkeypatch
) -> None:
    small |= {"max_epoch": 2}
    saved = []
    real = Saver.save_position

    def note(self, finished, position, *, background):
        saved.append((position["epoch"], position["step"]))
        real(self, finished, position, background=background)

    monkeypatch.setattr(Saver, "save_position", note)
    main(command(small, "by_number", "--save_interval_steps", "3"))
    assert saved == [(1, 3), (2, 1), (2, 4)]
    saved.clear()
    main(command(small, "by_time", "--save_interval_minutes", "1e-9"))
    assert saved == [(epoch, step) for epoch in (1, 2) for step in range(1, 6)]
    saved.clear()
    main(command(small, "never", "--save_interval_minutes", "0"))
    main(command(small, "default"))
    assert saved == []
    with pytest.raises(InputError, match="must not be negative"):
        main(command(small, "wrong", "--save_interval_steps", "-1"))


def test_a_place_among_other_batches_is_refused(runs, small, command, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        runs.signal_in(patch, trainer, "_optimiser_step", 2)
        assert main(command(small, "stopped")) == REQUEUE
    (tmp_path / "stopped" / "train.begun.json").unlink()  # else refused by the options already
    with pytest.raises(InputError, match="batch_bins=200, this run 150; resume with the same"):
        main(command({**small, "batch_bins": 150}, "stopped", "--resume", "true"))


def test_more_epochs_may_be_asked_for_in_the_middle_of_one(
    runs, small, command, tmp_path, monkeypatch
) -> None:
    small |= {"max_epoch": 2}
    with monkeypatch.context() as patch:
        runs.signal_in(patch, trainer, "_optimiser_step", 7)
        assert main(command(small, "longer")) == REQUEUE
    assert main(command(small, "longer", "--resume", "true", "--max_epoch", "3")) == 0
    assert max(checkpoints.load_checkpoint(tmp_path / "longer")["reporter"]["stats"]) == 3


def test_a_snapshot_is_a_copy_that_keeps_shared_tensors_shared(tmp_path) -> None:
    weight = torch.arange(6.0)
    state = {"a": weight, "b": [weight.view(2, 3), (weight, 1)], "c": None, "d": "text"}
    copy = snapshot(state)
    weight.zero_()
    assert copy["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert copy["a"] is copy["b"][1][0]
    assert copy["c"] is None and copy["d"] == "text" and copy["b"][1][1] == 1


def test_the_state_in_the_background_is_the_one_of_its_step(
    runs, small, command, tmp_path, monkeypatch
) -> None:
    """The write begins only after the next step is over, and must not see what that changed."""
    gate, models = threading.Event(), []
    write, save = checkpoints.save_checkpoint, Saver.save_position

    def late(content, directory):
        assert gate.wait(timeout=60)
        write(content, directory)

    def note(self, *args, **kwargs):
        models.append({name: value.clone() for name, value in self.state.model.state_dict().items()})
        save(self, *args, **kwargs)

    monkeypatch.setattr(checkpoints, "save_checkpoint", late)
    monkeypatch.setattr(Saver, "save_position", note)
    runs.call_at(monkeypatch, trainer, "_optimiser_step", 5, gate.set)
    runs.kill_in(monkeypatch, Saver, "save_epoch", 1)
    with pytest.raises(runs.Killed):
        main(command(small, "late", "--save_interval_steps", "3"))
    stored = checkpoints.load_checkpoint(tmp_path / "late")
    assert stored["position"]["step"] == 3
    runs.assert_equal(stored["model"], models[0])
