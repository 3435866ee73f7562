"""Which processes train together, and how they are started: here, by torchrun, or by one srun step.

A process is one rank. `bin.train` either is one already (srun or torchrun started it once per GPU) or starts
one for every GPU of its machine. ESPnet's `--dist_*` options go before anything that is found out.
"""

import argparse
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import torch
from espnet2.train.distributed_utils import free_port

from espnet_sld.errors import REQUEUE, InputError
from espnet_sld.tasks.interruption import STOP, StopTraining

# Seconds that processes get to say their own last word once another has failed.
LAST_WORDS = 15.0
# What gloo and NCCL say when a partner is gone.
GONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "NCCL communicator was aborted",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the layout; `--ngpu` and `--dist_*` are ESPnet's."""
    group = parser.add_argument_group("Processes")
    group.add_argument(
        "--num_nodes",
        type=int,
        default=1,
        help="Machines that train together; srun or torchrun starts this command on each",
    )
    group.add_argument(
        "--nproc_per_node",
        type=int,
        default=None,
        help="Processes of a machine; default: one per GPU of --ngpu, on a CPU one",
    )


@dataclass(frozen=True)
class Layout:
    """Who this process is among those that train together.

    Attributes:
        nodes, per_node: machines, and processes of each.
        node: this machine's number. local: this process's number on it; None where it has to start them.
        address: where they meet, None for one process.
    """

    nodes: int = 1
    per_node: int = 1
    node: int = 0
    local: int | None = 0
    address: str | None = None

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.nodes * self.per_node

    def rank(self, local: int) -> int:
        """Number among all of this machine's process `local`."""
        return self.node * self.per_node + local


def find_layout(args: argparse.Namespace, environment: Mapping[str, str]) -> Layout:
    """From the options and from what torchrun or srun say.

    Raises:
        InputError: they contradict each other, or something is missing.
    """
    per_node = args.nproc_per_node or max(args.ngpu, 1)
    if args.num_nodes < 1 or per_node < 1:
        raise InputError("--num_nodes and --nproc_per_node must be at least 1")
    if args.ngpu and per_node > args.ngpu:
        raise InputError(
            f"--nproc_per_node {per_node} with --ngpu {args.ngpu}: a process needs a GPU of its own"
        )
    if args.dist_world_size is None and "LOCAL_RANK" in environment and "WORLD_SIZE" in environment:
        return _each_started(environment, "RANK", "LOCAL_RANK", int(environment["WORLD_SIZE"]), args)
    in_slurm = args.dist_launcher == "slurm" or args.num_nodes > 1
    if args.dist_world_size is None and in_slurm and "SLURM_PROCID" in environment:
        tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or 1)
        if tasks == args.num_nodes * per_node:
            return _each_started(environment, "SLURM_PROCID", "SLURM_LOCALID", tasks, args)
        if tasks != args.num_nodes:
            raise InputError(
                f"srun started {tasks} tasks for --num_nodes {args.num_nodes}, {per_node} processes each; "
                f"use --ntasks {args.num_nodes * per_node} --ntasks-per-node {per_node}"
            )
        nodes, node = tasks, int(environment["SLURM_PROCID"])
    elif args.dist_world_size is not None or "WORLD_SIZE" in environment:
        # ESPnet's meaning of both: machines, each of which starts its own processes.
        nodes = int(args.dist_world_size or environment["WORLD_SIZE"])
        found = args.dist_rank if args.dist_rank is not None else environment.get("RANK")
        if nodes > 1 and found is None:
            raise InputError(f"{nodes} machines, but which one is this? give --dist_rank or set RANK")
        node = int(found or 0)
    elif args.num_nodes > 1:
        raise InputError(
            f"--num_nodes {args.num_nodes}: start this command once per GPU on all of them, by srun or "
            "torchrun, or once on each with WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT set"
        )
    else:
        nodes, node = 1, 0
    if not 0 <= node < nodes:
        raise InputError(f"machine {node} of {nodes}: they are numbered from 0")
    if nodes * per_node == 1:
        return Layout()
    address = _address(args, environment) if nodes > 1 else f"tcp://127.0.0.1:{free_port()}"
    return Layout(nodes, per_node, node, None if per_node > 1 else 0, address)


def _each_started(
    environment: Mapping[str, str], rank: str, local: str, world: int, args: argparse.Namespace
) -> Layout:
    """Every process was started by itself: as a layout of `world` machines with one process each."""
    if world == 1:
        return Layout()
    return Layout(world, 1, int(environment[rank]), int(environment[local]), _address(args, environment))


def _address(args: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """Where processes of several machines meet.

    Raises:
        InputError: nothing says where.
    """
    if args.dist_init_method != "env://":
        return args.dist_init_method
    host = args.dist_master_addr or environment.get("MASTER_ADDR")
    port = args.dist_master_port or environment.get("MASTER_PORT")
    if host is None and (hosts := environment.get("SLURM_JOB_NODELIST")):
        names = subprocess.run(["scontrol", "show", "hostnames", hosts], capture_output=True, text=True)
        host = next(iter(names.stdout.split()), None)
    if port is None and "SLURM_JOB_ID" in environment:
        port = 20000 + int(environment["SLURM_JOB_ID"]) % 20000
    if host is None or port is None:
        raise InputError(
            "several machines need MASTER_ADDR and MASTER_PORT, or --dist_init_method file://FILE"
        )
    return f"tcp://{host}:{port}"


def fill_in(args: argparse.Namespace, layout: Layout, local: int) -> argparse.Namespace:
    """A copy of the options for one process, as ESPnet's `main_worker` reads them.

    Raises:
        InputError: there is no GPU for it.
    """
    args = argparse.Namespace(**vars(args))
    args.multiprocessing_distributed = False
    args.distributed = layout.world > 1
    if args.ngpu:
        found = torch.cuda.device_count()
        wanted = max(layout.per_node, 1)
        if found < wanted:
            raise InputError(f"--ngpu {wanted}, but {found} devices are here; use --ngpu {found}")
        args.ngpu, args.local_rank = 1, local % found  # srun may show each task its own GPU alone
    if args.distributed:
        args.local_rank = args.local_rank if args.ngpu else 0
        args.dist_world_size, args.dist_rank = layout.world, layout.rank(local if layout.local is None else 0)
        args.dist_init_method, args.dist_launcher = layout.address, None
        args.dist_backend = args.dist_backend if args.ngpu else "gloo"
    return args


def start(worker: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Train on this process, or on those that it starts and waits for.

    Args:
        worker: gets the options of one process; picklable.

    Raises:
        StopTraining: they stopped on request and saved their state.
        InputError: see `find_layout`; or a process failed.
    """
    layout = find_layout(args, os.environ)
    if layout.local is not None:
        worker(fill_in(args, layout, layout.local))
        return
    context = multiprocessing.get_context("spawn")
    everyone = [fill_in(args, layout, local) for local in range(layout.per_node)]
    watch([context.Process(target=worker, args=(one,)) for one in everyone])


def watch(processes: list[BaseProcess]) -> None:
    """Start processes, pass on a request to stop, and wait; if one fails, the others are not left behind.

    Raises:
        StopTraining, InputError: see `start`.
    """
    for process in processes:
        process.start()
    told, give_up = False, None
    try:
        while running := [process for process in processes if process.is_alive()]:
            wait([process.sentinel for process in running], timeout=0.2)
            if STOP.wanted and not told:
                told = True  # by USR1: a Ctrl-C has reached them already, and a second one would end them
                for process in running:
                    os.kill(process.pid, signal.SIGUSR1)
            if give_up is None and any(process.exitcode for process in processes):
                give_up = time.monotonic() + LAST_WORDS
            if give_up is not None and time.monotonic() > give_up:
                break
        ended = [process for process in processes if process.exitcode]
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()
    _judge(processes, [process for process in ended if process.exitcode != REQUEUE])


def _judge(processes: list[BaseProcess], failed: list[BaseProcess]) -> None:
    """Say how processes ended; `failed`: those that did by themselves, with neither 0 nor `REQUEUE`."""
    # A killed one is the cause and its partners' messages the effect, unless all were asked to stop.
    killed = [] if STOP.wanted else [process for process in failed if process.exitcode < 0]
    for process in killed or [process for process in failed if process.exitcode > 0]:
        code, place = process.exitcode, f"{processes.index(process) + 1} of {len(processes)}"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = " (perhaps by the system, out of memory)" if code == -signal.SIGKILL else ""
        raise InputError(
            f"training process {place} {how}{hint}; more may be in the lines above. "
            "The last saved state is kept: run the same command again"
        )
    if any(process.exitcode for process in processes):
        raise StopTraining("stopped on request; the state is saved: run the same command again")


def end_with_parent() -> None:
    """In a started process: when the one that started it is gone (kill -9), do not train on unseen."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch_parent() -> None:
        parent.join()
        os._exit(128 + signal.SIGKILL)

    threading.Thread(target=watch_parent, name="parent watch", daemon=True).start()


def say_goodbye(args: argparse.Namespace) -> None:
    """Leave the process group in order; not after an error, when the others may wait in another place."""
    if args.distributed and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def lost_connection(error: RuntimeError) -> InputError | None:
    """The message for a process whose partner is gone; None for any other error."""
    text = str(error)
    if not any(words in text for words in GONE):
        return None
    return InputError(
        f"another process of this training is gone ({text.splitlines()[0][:160]}); its own last lines say "
        "why. The last saved state is kept: run the same command again"
    )
