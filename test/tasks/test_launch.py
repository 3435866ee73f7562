"""Who trains with whom, from options and environments; what becomes of processes that are started here."""

import multiprocessing
import os
import signal
import sys
import time
from argparse import Namespace

import pytest

from espnet_sld.bin.train import load_task
from espnet_sld.errors import REQUEUE, InputError

load_task()
from espnet_sld.tasks import launch  # noqa: E402
from espnet_sld.tasks.interruption import STOP, StopTraining, listening  # noqa: E402


def options(**changes) -> Namespace:
    defaults = {
        **dict.fromkeys(("nproc_per_node", "dist_world_size", "dist_rank", "local_rank", "dist_launcher")),
        **dict.fromkeys(("dist_master_addr", "dist_master_port")),
        "num_nodes": 1,
        "ngpu": 0,
        "dist_init_method": "env://",
        "dist_backend": "nccl",
    }
    return Namespace(**defaults | changes)


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_ID": "77",
    "WORLD_SIZE": "4",
}
MEETING = {"MASTER_ADDR": "node-1", "MASTER_PORT": "2900"}


@pytest.mark.parametrize(
    ("changes", "environment", "world", "ranks", "address"),
    [
        ({}, {}, 1, [0], None),
        ({"ngpu": 1}, {}, 1, [0], None),
        ({"ngpu": 1}, {**SRUN, "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "WORLD_SIZE": "1"}, 1, [0], None),
        ({"nproc_per_node": 3}, {}, 3, [0, 1, 2], "tcp://127.0.0.1:"),
        ({"ngpu": 4}, {}, 4, [0, 1, 2, 3], "tcp://127.0.0.1:"),
        ({"ngpu": 4}, TORCHRUN, 8, [5], "tcp://a:1"),
        ({"ngpu": 4, "num_nodes": 2}, TORCHRUN, 8, [5], "tcp://a:1"),
        ({"num_nodes": 4}, {**SRUN, **MEETING}, 4, [3], "tcp://node-1:2900"),
        ({"ngpu": 2, "num_nodes": 2}, {**SRUN, **MEETING}, 4, [3], "tcp://node-1:2900"),
        ({"ngpu": 2, "num_nodes": 4}, {**SRUN, **MEETING}, 8, [6, 7], "tcp://node-1:2900"),
        ({"num_nodes": 4}, {**SRUN, "MASTER_ADDR": "n"}, 4, [3], "tcp://n:20077"),
        ({}, {"WORLD_SIZE": "2", "RANK": "1", **MEETING}, 2, [1], "tcp://node-1:2900"),
        ({"ngpu": 2}, {"WORLD_SIZE": "2", "RANK": "1", **MEETING}, 4, [2, 3], "tcp://node-1:2900"),
        ({"dist_world_size": 2, "dist_rank": 0, "dist_init_method": "file:///x"}, {}, 2, [0], "file:///x"),
        (
            {"dist_world_size": 2, "dist_rank": 1, "dist_init_method": "file:///x"},
            TORCHRUN,
            2,
            [1],
            "file:///x",
        ),
    ],
)
def test_the_layout_follows_from_options_and_environment(
    monkeypatch, changes, environment, world, ranks, address
) -> None:
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: 4)
    args = options(**changes)
    layout = launch.find_layout(args, environment)
    assert layout.world == world
    locals_ = range(layout.per_node) if layout.local is None else [layout.local]
    everyone = [launch.fill_in(args, layout, local) for local in locals_]
    assert [one.dist_rank for one in everyone] == (ranks if world > 1 else [None])
    for local, one in zip(locals_, everyone, strict=True):
        assert one.distributed == (world > 1) and not one.multiprocessing_distributed
        assert one.ngpu == min(args.ngpu, 1)
        if world > 1:
            assert one.dist_init_method.startswith(address) and one.dist_world_size == world
            assert one.dist_backend == ("nccl" if args.ngpu else "gloo")
            assert one.local_rank == (local if args.ngpu else 0)


def test_a_task_that_sees_its_own_gpu_alone_takes_that(monkeypatch) -> None:
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: 1)
    args = options(ngpu=2, num_nodes=2)
    layout = launch.find_layout(args, {**SRUN, **MEETING})
    assert launch.fill_in(args, layout, layout.local).local_rank == 0


@pytest.mark.parametrize(
    ("changes", "environment", "message"),
    [
        ({"num_nodes": 2}, {}, "--num_nodes 2: start this command once per GPU"),
        (
            {"num_nodes": 2},
            {**SRUN, "SLURM_NTASKS": "3"},
            "srun started 3 tasks .*use --ntasks 2 --ntasks-per-node 1",
        ),
        ({"num_nodes": 4}, SRUN, "several machines need MASTER_ADDR"),
        ({}, {"WORLD_SIZE": "2"}, "which one is this"),
        ({}, {"WORLD_SIZE": "2", "RANK": "2", **MEETING}, "machine 2 of 2"),
        ({"ngpu": 2, "nproc_per_node": 3}, {}, "--nproc_per_node 3 with --ngpu 2"),
        ({"num_nodes": 0}, {}, "at least 1"),
    ],
)
def test_what_cannot_be_is_said(changes, environment, message) -> None:
    with pytest.raises(InputError, match=message):
        launch.find_layout(options(**changes), environment)


def test_more_gpus_than_there_are_is_said(monkeypatch) -> None:
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="--ngpu 4, but 2 devices are here; use --ngpu 2"):
        launch.start(print, options(ngpu=4))


# -- processes that are started and watched -----------------------------------------------------------
FORK = multiprocessing.get_context("fork")


def end_with(code: int | None, seconds: float = 0.0) -> None:
    """A process that ends after some time; None: when it is told to stop, as a training does."""
    with listening():
        deadline = time.monotonic() + (seconds if code is not None else 60)
        while time.monotonic() < deadline and not (code is None and STOP.wanted):
            time.sleep(0.01)
    if code is not None and code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(REQUEUE if code is None else code)


def processes(*codes) -> list:
    return [FORK.Process(target=end_with, args=(code, 0.1)) for code in codes]


def test_all_well_is_no_error() -> None:
    launch.watch(processes(0, 0))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ((0, 3), "process 2 of 2 ended with code 3; "),
        ((1, -9), r"process 2 of 2 was killed by signal 9 \(perhaps by the system, out of memory\); "),
        ((REQUEUE, 1), "process 2 of 2 ended with code 1; "),
    ],
)
def test_the_process_that_failed_is_named(codes, message) -> None:
    with pytest.raises(InputError, match=message):
        launch.watch(processes(*codes))


def test_the_others_are_not_left_behind(monkeypatch) -> None:
    monkeypatch.setattr(launch, "LAST_WORDS", 0.2)
    waiting = FORK.Process(target=end_with, args=(0, 60.0))
    with pytest.raises(InputError, match="process 1 of 2 ended with code 1"):
        launch.watch([*processes(1), waiting])
    assert waiting.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_reaches_all_processes(number) -> None:
    started = processes(None, None)
    with listening(), pytest.raises(StopTraining, match="the state is saved"):
        FORK.Process(target=later, args=(os.getpid(), number)).start()
        launch.watch(started)
    assert [process.exitcode for process in started] == [REQUEUE, REQUEUE]


def later(pid: int, number: int) -> None:
    time.sleep(0.3)
    os.kill(pid, number)


def test_a_lost_partner_is_told_from_other_errors() -> None:
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4211\n…")
    assert "another process of this training is gone" in str(launch.lost_connection(gone))
    assert launch.lost_connection(RuntimeError("shape mismatch")) is None
