"""Several processes train as one: the same loss curve, the same end after a stop, and no one left waiting."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from espnet_sld.bin.train import load_task
from espnet_sld.errors import REQUEUE

load_task()
from espnet_sld.tasks import checkpoints  # noqa: E402

pytestmark = pytest.mark.slow


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def as_torchrun(world: int) -> list[dict[str, str]]:
    """Environments of processes on one machine, each started by itself."""
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def as_srun(nodes: int) -> list[dict[str, str]]:
    """Environments of one srun step with a task on each of `nodes` machines."""
    shared = {"SLURM_NTASKS": str(nodes), "SLURM_JOB_ID": "1", "MASTER_ADDR": "127.0.0.1"}
    shared["MASTER_PORT"] = free_port()
    return [{**shared, "SLURM_PROCID": str(node), "SLURM_LOCALID": "0"} for node in range(nodes)]


@pytest.fixture
def steps(config) -> dict:
    """12 epochs of one step: the epochs' figures are the loss curve. No dropout, which each process draws."""
    changes = {"dropout": 0.0, "time_mask_prob": 0.2, "max_epoch": 12, "keep_nbest_models": 1}
    return {**config, **changes, "num_iters_per_epoch": 1}


def curve(directory, phase: str = "train") -> torch.Tensor:
    """Loss and its parts of every step, (steps, parts) float64."""
    stats = checkpoints.load_checkpoint(directory)["reporter"]["stats"]
    names = ("loss", "ce_text", "ce_speech", "kl", "acc_text")
    return torch.tensor([[stats[epoch][phase][name] for name in names] for epoch in sorted(stats)]).double()


@pytest.mark.parametrize("accum", [1, 2])
def test_one_and_two_processes_and_two_machines_have_the_same_loss_curve(
    server, steps, command, tmp_path, accum
) -> None:
    """With one micro-batch a step its rows are shared out, with two whole micro-batches are."""
    steps |= {"accum_grad": accum, "num_iters_per_epoch": accum}
    rendezvous = ["--dist_init_method", f"file://{tmp_path}/meeting", "--dist_world_size", "2"]
    started = [server.start(command(steps, "1x1"))]
    started += [server.start(command(steps, "1x2"), **place) for place in as_torchrun(2)]
    started += [server.start(command(steps, "2x1", "--num_nodes", "2"), **place) for place in as_srun(2)]
    for node in range(2):
        started.append(server.start(command(steps, "file", *rendezvous, "--dist_rank", str(node))))
    assert server.wait(*started) == [0] * 7
    one, final = curve(tmp_path / "1x1"), checkpoints.load_checkpoint(tmp_path / "1x1")["model"]
    assert one[-1, 0] < one[0, 0]
    for name in ("1x2", "2x1", "file"):
        for phase in ("train", "valid"):
            expected = curve(tmp_path / "1x1", phase)
            assert torch.allclose(curve(tmp_path / name, phase), expected, rtol=2e-5, atol=1e-6), (
                name,
                phase,
            )
        model = checkpoints.load_checkpoint(tmp_path / name)["model"]
        assert all(torch.allclose(model[key], final[key], rtol=1e-3, atol=1e-4) for key in final)


def test_in_float64_nothing_but_rounding_is_left_of_the_difference(server, steps, command, tmp_path) -> None:
    steps |= {"train_dtype": "float64", "max_epoch": 4, "accum_grad": 3, "num_iters_per_epoch": 3}
    started = [server.start(command(steps, "1x1"))]
    started += [server.start(command(steps, "1x2"), **place) for place in as_torchrun(2)]
    assert server.wait(*started) == [0] * 3
    one, two = (checkpoints.load_checkpoint(tmp_path / name) for name in ("1x1", "1x2"))
    for number, state in one["optimizers"][0]["state"].items():
        # Adam's first moment is the gradients' mean: the processes had the gradients of one, step by step.
        moment = two["optimizers"][0]["state"][number]["exp_avg"]
        assert (moment - state["exp_avg"]).abs().max() <= 1e-6 * state["exp_avg"].abs().max()
    assert torch.allclose(curve(tmp_path / "1x2"), curve(tmp_path / "1x1"), rtol=1e-6)


def underway(read_log, seconds: float = 120.0) -> None:
    """Wait until a training has said something of its steps."""
    deadline = time.monotonic() + seconds
    while "INFO: epoch" not in read_log():
        assert time.monotonic() < deadline, read_log()
        time.sleep(0.01)


@pytest.fixture
def long(config) -> dict:
    """Steps enough to be disturbed in."""
    changes = {"max_epoch": 3, "num_iters_per_epoch": 30, "log_interval": 4}
    return {**config, **changes}


def test_a_signal_to_one_process_stops_all_at_the_same_step(server, runs, long, command, tmp_path) -> None:
    undisturbed = [server.start(command(long, "undisturbed"), **place) for place in as_torchrun(2)]
    again = command(long, "disturbed", "--resume", "true", "--save_interval_steps", "20")
    for rank in (1, 0):
        pids = [server.start(again, **place) for place in as_torchrun(2)]
        underway(lambda pids=pids: server.log(pids[0]))
        os.kill(pids[rank], signal.SIGUSR1)
        assert server.wait(*pids) == [REQUEUE, REQUEUE], server.log(pids[0])
        assert "the state is saved" in server.log(pids[0])
    assert len(checkpoints.load_checkpoint(tmp_path / "disturbed")["position"]["processes"]) == 2
    pids = [server.start(again, **place) for place in as_torchrun(2)]
    assert server.wait(*pids, *undisturbed) == [0, 0, 0, 0]
    runs.assert_same_training(tmp_path / "disturbed", tmp_path / "undisturbed")


def test_a_killed_process_ends_the_other_with_a_message_and_loses_nothing(
    server, runs, long, command, tmp_path
) -> None:
    undisturbed = [server.start(command(long, "undisturbed"), **place) for place in as_torchrun(2)]
    again = command(long, "disturbed", "--resume", "true", "--save_interval_steps", "10")
    for rank in (1, 0):
        pids = [server.start(again, **place) for place in as_torchrun(2)]
        underway(lambda pids=pids: server.log(pids[0]))
        os.kill(pids[rank], signal.SIGKILL)
        codes = server.wait(*pids)
        assert (codes[rank], codes[1 - rank]) == (-9, 1)
        assert "error: another process of this training is gone" in server.log(pids[1 - rank])
    pids = [server.start(again, **place) for place in as_torchrun(2)]
    assert server.wait(*pids, *undisturbed) == [0, 0, 0, 0]
    runs.assert_same_training(tmp_path / "disturbed", tmp_path / "undisturbed")


def test_another_number_of_processes_goes_on_from_the_same_place(server, steps, command, tmp_path) -> None:
    """Without dropout to the same end: figures of a half-done epoch included."""
    steps |= {"max_epoch": 2, "num_iters_per_epoch": 40, "log_interval": 4}
    undisturbed = server.start(command(steps, "undisturbed"))
    again = command(steps, "disturbed", "--resume", "true", "--save_interval_steps", "5")
    worlds = (as_torchrun(2), [{}], as_torchrun(3))
    for world in worlds[:2]:
        pids = [server.start(again, **place) for place in world]
        underway(lambda pids=pids: server.log(pids[0]))
        os.kill(pids[0], signal.SIGTERM)
        assert server.wait(*pids) == [REQUEUE] * len(world), server.log(pids[0])
    pids = [server.start(again, **place) for place in worlds[2]]
    assert server.wait(*pids, undisturbed) == [0, 0, 0, 0]
    for phase in ("train", "valid"):
        expected = curve(tmp_path / "undisturbed", phase)
        assert torch.allclose(curve(tmp_path / "disturbed", phase), expected, rtol=2e-4, atol=1e-5)


def test_the_command_starts_processes_itself_and_passes_a_signal_on(steps, command, tmp_path) -> None:
    """`--nproc_per_node 2` through ESPnet's spawn, stopped through the parent, then finished."""
    steps |= {"max_epoch": 3, "num_iters_per_epoch": 200, "log_interval": 4}
    again = command(
        steps, "spawned", "--resume", "true", "--nproc_per_node", "2", "--save_interval_steps", "20"
    )
    words = [sys.executable, "-m", "espnet_sld.bin.train", *again]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, env=environment, stderr=log)
        try:
            underway((tmp_path / "log").read_text, 240)
            process.terminate()
            assert process.wait(timeout=120) == REQUEUE, (tmp_path / "log").read_text()
        finally:
            process.kill()
    stopped = checkpoints.load_checkpoint(tmp_path / "spawned")
    assert len(stopped["position"]["processes"]) == 2
    done = subprocess.run(
        [*words, "--max_epoch", "1"], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert f"resumed after step {stopped['position']['step']} of epoch 1" in done.stderr
