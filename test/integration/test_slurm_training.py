"""Trainings on a real cluster: told to stop, requeued, on one node and on two; no step is lost."""

import importlib.util
import re
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

from espnet_sld.bin.train import load_task

load_task()
from espnet_sld.tasks import checkpoints  # noqa: E402

pytestmark = pytest.mark.slow


def load(name: str) -> ModuleType:
    """A module of the trainings' tests."""
    path = Path(__file__).resolve().parents[1] / "tasks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"tasks_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shared, compare = load("conftest"), load("runs")
token_dir, config, command = shared.token_dir, shared.config, shared.command  # their fixtures
NODES = ["--num-nodes", "2"]


@pytest.fixture
def train(slurm_py, command, repo_root, tmp_path):
    """Starts a training as a task: slurm.py's options, configuration, output directory, more options."""

    def start(options: list[str], config: dict, name: str, *more: str):
        words = [sys.executable, "-m", "espnet_sld.bin.train", *command(config, name, *more)]
        return slurm_py(*options, f"{name}.log", *words, PYTHONPATH=str(repo_root), OMP_NUM_THREADS="1")

    return start


@pytest.fixture
def long(config) -> dict:
    """Two epochs of so many steps that one can be hit in its middle; dropout is each process's own draw."""
    changes = {"dropout": 0.0, "max_epoch": 2, "num_iters_per_epoch": 300, "log_interval": 10}
    return {**config, **changes, "keep_nbest_models": 1}


def in_mid_epoch(training, log: Path, seconds: float = 600.0) -> None:
    """Wait until a training is well into its first epoch."""
    deadline = time.monotonic() + seconds
    while not (log.exists() and re.search(r"epoch 1/2, step [2-9]\d/600", log.read_text())):
        assert not training.ended and time.monotonic() < deadline, training.text
        time.sleep(0.05)


def job_of(cluster) -> str:
    """The number of our only job that has not ended."""
    (number,) = cluster.command("squeue", "--me", "--noheader", "--format=%A").split()
    return number


def resumed_after(log: Path) -> int:
    """The step of the first epoch after which the second run went on."""
    (step,) = set(re.findall(r"resumed after step (\d+) of epoch 1", log.read_text()))
    return int(step)


def curve(directory: Path, phase: str = "train") -> torch.Tensor:
    """Loss and its parts, (epochs, parts) float64."""
    stats = checkpoints.load_checkpoint(directory)["reporter"]["stats"]
    names = ("loss", "ce_text", "ce_speech", "kl", "acc_text")
    return torch.tensor([[stats[epoch][phase][name] for name in names] for epoch in sorted(stats)]).double()


def test_a_training_requeued_in_mid_epoch_ends_bit_equal_to_an_undisturbed_one(
    train, cluster, long, tmp_path
):
    long |= {"dropout": 0.1}
    undisturbed = train([], long, "undisturbed")
    assert undisturbed.wait(600) == 0
    requeued = train([], long, "requeued", "--resume", "true", "--save_interval_steps", "50")
    in_mid_epoch(requeued, tmp_path / "requeued.log")
    number = job_of(cluster)
    cluster.command("scontrol", "requeue", number)
    requeued.said("was requeued by Slurm")
    cluster.command("scontrol", "update", f"JobId={number}", "StartTime=now")  # it would wait for two minutes
    assert requeued.wait(600) == 0
    assert 0 < resumed_after(tmp_path / "requeued.log") < 300
    compare.assert_same_training(tmp_path / "requeued", tmp_path / "undisturbed")


def test_a_training_on_two_nodes_told_to_stop_goes_on_in_another_job(train, cluster, long, tmp_path):
    """To the loss curve of an undisturbed training by one process (float64: rounding adds up)."""
    long |= {"train_dtype": "float64"}
    one = train([], long, "one")
    assert one.wait(600) == 0
    two = train(NODES, long, "two", "--num_nodes", "2", "--resume", "true")
    in_mid_epoch(two, tmp_path / "two.log")
    cluster.command("scancel", "--batch", "--signal=USR1", job_of(cluster))
    assert two.wait(600) == 0
    assert "saved its state and asks to be run again; submitted again" in two.text
    assert 0 < resumed_after(tmp_path / "two.log") < 300
    assert "srun --nodes 2" in (tmp_path / "two.log").read_text()
    for phase in ("train", "valid"):
        expected = curve(tmp_path / "one", phase)
        assert torch.allclose(curve(tmp_path / "two", phase), expected, rtol=1e-5, atol=1e-6), phase


@pytest.mark.campaign
@pytest.mark.parametrize("accum", [1, 2])
def test_two_nodes_and_two_processes_have_the_loss_curve_of_one(train, config, tmp_path, accum):
    """Step by step, at the same global batch; with one micro-batch a step its rows are shared out."""
    config |= {"dropout": 0.0, "time_mask_prob": 0.2, "max_epoch": 40, "keep_nbest_models": 1}
    config |= {"accum_grad": accum, "num_iters_per_epoch": accum}  # an epoch is a step
    started = [
        train([], config, "1x1"),
        train(["--num-threads", "2"], config, "1x2", "--nproc_per_node", "2"),
        train(NODES, config, "2x1", "--num_nodes", "2"),
    ]
    assert [submitter.wait(600) for submitter in started] == [0, 0, 0]
    worst = {}
    for name in ("1x2", "2x1"):
        for phase in ("train", "valid"):
            one, other = curve(tmp_path / "1x1", phase), curve(tmp_path / name, phase)
            assert len(one) == 40 and one[-1, 0] < 0.9 * one[0, 0]
            worst[name, phase] = ((other - one).abs() / one.abs().clamp(min=1e-6))[:, 0].max().item()
            assert torch.allclose(other, one, rtol=1e-4, atol=1e-5), (name, phase)
    print(f"largest relative deviation of the loss over {len(one)} steps: {worst}")


@pytest.mark.campaign
def test_two_nodes_stopped_and_undisturbed_end_bit_equal(train, cluster, long, tmp_path):
    long |= {"dropout": 0.1}
    undisturbed = train(NODES, long, "undisturbed", "--num_nodes", "2")
    assert undisturbed.wait(600) == 0
    stopped = train(NODES, long, "stopped", "--num_nodes", "2", "--resume", "true")
    in_mid_epoch(stopped, tmp_path / "stopped.log")
    cluster.command("scancel", "--batch", "--signal=TERM", job_of(cluster))
    assert stopped.wait(600) == 0
    assert 0 < resumed_after(tmp_path / "stopped.log") < 300
    compare.assert_same_training(tmp_path / "stopped", tmp_path / "undisturbed")
