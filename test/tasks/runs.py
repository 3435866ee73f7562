"""What tests compare of finished trainings, and ways to disturb one that is running in the test's process."""

import os
import signal
from pathlib import Path

import torch

from espnet_sld.tasks import checkpoints

# Of the reporter's figures these depend on the machine.
SPEED = {"time", "tokens_per_second", "mfu"}


class Killed(BaseException):
    """What a test raises where a real run would be killed."""


def call_at(monkeypatch, owner, name: str, call: int, do) -> None:
    """Before the `call`-th call of `owner.name`, run `do`."""
    real, calls = getattr(owner, name), []

    def disturbed(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            do()
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, disturbed)


def kill_in(monkeypatch, owner, name: str, call: int) -> None:
    """Stop the training at the `call`-th call of `owner.name`, before it does anything."""

    def die():
        raise Killed

    call_at(monkeypatch, owner, name, call, die)


def signal_in(monkeypatch, owner, name: str, call: int, number: int = signal.SIGUSR1) -> None:
    """Send this process a signal at the `call`-th call of `owner.name`."""
    call_at(monkeypatch, owner, name, call, lambda: os.kill(os.getpid(), number))


def statistics(directory: Path) -> dict:
    """The reporter's figures, without those that depend on the machine."""
    stats = checkpoints.load_checkpoint(directory)["reporter"]["stats"]
    return {
        epoch: {
            phase: {name: value for name, value in figures.items() if name not in SPEED}
            for phase, figures in phases.items()
        }
        for epoch, phases in stats.items()
    }


def assert_same_training(directory: Path, other: Path) -> None:
    """Bit-equal: the same models, averages and links, optimiser, schedule and logged figures."""
    names = {path.name: path.is_symlink() and path.readlink() for path in other.glob("*.pth")}
    found = {path.name: path.is_symlink() and path.readlink() for path in directory.glob("*.pth")}
    # that there was a moment with two checkpoints depends on when states were saved
    assert found.items() | {(checkpoints.PREVIOUS, False)} == names.items() | {(checkpoints.PREVIOUS, False)}
    for name, target in names.items():
        if not target and name not in (checkpoints.CHECKPOINT, checkpoints.PREVIOUS):
            assert_equal(*(torch.load(place / name, weights_only=True) for place in (directory, other)))
    first, second = (checkpoints.load_checkpoint(place) for place in (directory, other))
    assert first["schedulers"] == second["schedulers"]
    assert_equal(first["model"], second["model"])
    for one, two in zip(first["optimizers"], second["optimizers"], strict=True):
        for number, values in two["state"].items():
            assert_equal(one["state"][number], values)
    assert statistics(directory) == statistics(other)


def assert_equal(first: dict, second: dict) -> None:
    """The same tensors under the same names, bit for bit."""
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
