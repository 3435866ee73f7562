#!/usr/bin/env python3
"""A throw-away Slurm cluster on this machine's loopback, for tests: real munged, slurmctld and slurmds.

usage: cluster.py start DIR [--nodes N] [--cpus N] [--gpus N] [--cgroup]
       then: . DIR/env.sh; sinfo; srun -N2 hostname
       cluster.py stop DIR

Needs root and the packages of `available.py`. --cgroup: memory limits by control groups (version 1), so that
a job can really run out of memory. The GPUs are twins of /dev/null.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

from available import unavailable
from processes import alive, descendants, step_daemons

START_SECONDS = 30
HOSTS = Path("/etc/hosts")
SETTINGS = {
    "AccountingStorageType": "accounting_storage/none",
    "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
    "GresTypes": "gpu",
    "InactiveLimit": "0",
    "JobAcctGatherType": "jobacct_gather/none",
    "JobRequeue": "1",
    "KillWait": "5",
    "MinJobAge": "300",
    "MpiDefault": "none",
    "PreemptMode": "REQUEUE",
    "PreemptType": "preempt/partition_prio",
    "PropagateResourceLimits": "NONE",
    "ReturnToService": "2",
    "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_CPU_Memory",
    "SlurmUser": "root",
    "SlurmdParameters": "config_overrides",
    "SlurmdTimeout": "20",
}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


class Cluster:
    """One cluster in one folder.

    Args:
        folder: everything goes there; no spaces.
        nodes, cpus, gpus: how many nodes, and what each has.
        cgroup: control groups of version 1 (real OUT_OF_MEMORY).
        bound: daemons end when this process does, however it ends.
        settings: lines of slurm.conf beside or instead of `SETTINGS`.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        nodes: int = 2,
        cpus: int = 4,
        gpus: int = 2,
        cgroup: bool = False,
        bound: bool = False,
        settings: dict[str, str] | None = None,
    ):
        self.folder = Path(folder).absolute()
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.cpus, self.gpus, self.cgroup, self.bound = cpus, gpus, cgroup, bound
        self.settings = {**SETTINGS, **(settings or {})}
        self.conf = self.folder / "slurm.conf"
        self.pids: dict[str, int] = {}
        self.processes: list[subprocess.Popen] = []  # ours, to be reaped

    # -- what tests use

    @property
    def environment(self) -> dict[str, str]:
        """Our environment, for Slurm's commands."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def command(self, *words: str, seconds: float = 60.0) -> str:
        """Run one of Slurm's commands; what it printed."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        return (done.stdout + done.stderr).strip()

    def signal_daemon(self, name: str, signum: int) -> None:
        """A signal for `slurmctld`, or a node's slurmd (`node1`)."""
        os.kill(self.pids[name], signum)

    def start_daemon(self, name: str) -> None:
        """Start `munged`, `slurmctld` or a node's slurmd."""
        if name == "munged":
            munge = self.folder / "munge"
            words = ["munged", "--foreground", "--force", "--num-threads=2", f"--socket={munge}/socket"]
            words += [f"--key-file={munge}/key", f"--pid-file={munge}/pid", f"--seed-file={munge}/seed"]
        elif name == "slurmctld":
            words = ["slurmctld", "-D"]
        else:
            words = ["slurmd", "-D", "-N", name]
        with (self.folder / "log" / f"{name}.out").open("a") as out:
            process = subprocess.Popen(
                words,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent if self.bound else None,
            )
        self.processes.append(process)
        self.pids[name] = process.pid
        (self.folder / "pids.json").write_text(json.dumps(self.pids))

    def idle(self) -> bool:
        """Whether every node waits for work."""
        listed = self.command("sinfo", "--noheader", "-N", "-p", "cpu", "-t", "idle", "-o", "%N", seconds=20)
        return set(listed.split()) == set(self.nodes)

    # -- its life

    def start(self) -> None:
        """Write the configuration, start the daemons, wait for idle nodes."""
        if (self.folder / "pids.json").exists():
            sys.exit(f"{self.folder}: a cluster was started here; stop it first")
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        for name in ("state", "log", "munge", "gpu", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._write_configuration()
        self._edit_hosts(add=True)
        for name in ("munged", "slurmctld", *self.nodes):
            self.start_daemon(name)
            if name == "munged":
                self._wait(lambda: (self.folder / "munge" / "socket").exists(), "munged")
        self._wait(self.idle, "the nodes")

    def _write_configuration(self) -> None:
        ports = _free_ports(1 + len(self.nodes))
        kind = "cgroup" if self.cgroup else "linuxproc"
        settings = {
            "ClusterName": "test",
            "SlurmctldHost": "localhost(127.0.0.1)",
            "SlurmctldPort": ports[0],
            "AuthInfo": f"socket={self.folder}/munge/socket",
            "StateSaveLocation": f"{self.folder}/state",
            "SlurmdSpoolDir": f"{self.folder}/spool/%n",
            "SlurmctldPidFile": f"{self.folder}/slurmctld.pid",
            "SlurmdPidFile": f"{self.folder}/slurmd.%n.pid",
            "SlurmctldLogFile": f"{self.folder}/log/slurmctld.log",
            "SlurmdLogFile": f"{self.folder}/log/slurmd.%n.log",
            "ProctrackType": f"proctrack/{kind}",
            "TaskPlugin": "task/cgroup" if self.cgroup else "task/none",
            **self.settings,
        }
        lines = [f"{name}={value}" for name, value in settings.items()]
        gres = f" Gres=gpu:{self.gpus}" if self.gpus else ""
        for node, port in zip(self.nodes, ports[1:], strict=True):
            lines.append(
                f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port}"
                f" CPUs={self.cpus} RealMemory=4000{gres}"
            )
        common = "Nodes=ALL DefaultTime=10 DefMemPerCPU=200"
        lines += [
            f"PartitionName=cpu {common} Default=YES PriorityTier=1 PreemptMode=CANCEL GraceTime=5",
            f"PartitionName=gpu {common} PriorityTier=1 PreemptMode=REQUEUE GraceTime=5",
            f"PartitionName=urgent {common} PriorityTier=9 PreemptMode=OFF",  # takes nodes from the others
        ]
        self.conf.write_text("\n".join(lines) + "\n")
        control = ["CgroupPlugin=cgroup/v1", "ConstrainRAMSpace=yes"] if self.cgroup else []
        (self.folder / "cgroup.conf").write_text("\n".join([*control, ""]))
        devices = [self._fake_gpu(number) for number in range(self.gpus)]
        (self.folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in devices))
        (self.folder / "env.sh").write_text(f"export SLURM_CONF={self.conf}\n")

    def _fake_gpu(self, number: int) -> Path:
        """Slurm hands out character devices only; twins of /dev/null do."""
        path = self.folder / "gpu" / f"gpu{number}"
        if not path.exists():
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        return path

    def stop(self) -> None:
        """End every job and daemon of the cluster."""
        with contextlib.suppress(FileNotFoundError):
            self.pids = {**json.loads((self.folder / "pids.json").read_text()), **self.pids}
        with contextlib.suppress(OSError, KeyError):
            self.signal_daemon("slurmctld", signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.command("scancel", "--me", "--full", "--signal=KILL", seconds=5)
            self.command("scancel", "--me", seconds=5)
        self._kill_steps()
        for name in self.pids:
            with contextlib.suppress(OSError, KeyError):
                self.signal_daemon(name, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while any(map(alive, self.pids.values())) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in filter(alive, self.pids.values()):
            os.kill(pid, signal.SIGKILL)
        self._kill_steps()
        for process in self.processes:
            process.poll()
        self._edit_hosts(add=False)
        (self.folder / "pids.json").unlink(missing_ok=True)

    def _kill_steps(self) -> None:
        """slurmstepds outlive their slurmd; end them and what they run."""
        for pid in step_daemons(self.folder):
            for child in descendants(pid):
                with contextlib.suppress(OSError):
                    os.kill(child, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _edit_hosts(self, *, add: bool) -> None:
        """Nodes' names must resolve: a distributed training's first host is one of them."""
        mark = f"# test cluster {self.folder}"
        lines = [line for line in HOSTS.read_text().splitlines() if not line.endswith(mark)]
        if add:
            lines.append(f"127.0.0.1 {' '.join(self.nodes)} {mark}")
        HOSTS.write_text("\n".join(lines) + "\n")  # in place: in containers it is a bind mount

    def _wait(self, ready, what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{what} did not start; see {self.folder}/log")
            time.sleep(0.1)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["start", "stop", "check"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--cgroup", action="store_true")
    options = parser.parse_args()
    if options.action == "stop":
        Cluster(options.folder, nodes=0).stop()
        return
    reason = unavailable()
    if reason:
        sys.exit(f"no Slurm cluster here: {reason}")
    if options.action == "start":
        Cluster(
            options.folder, nodes=options.nodes, cpus=options.cpus, gpus=options.gpus, cgroup=options.cgroup
        ).start()


if __name__ == "__main__":
    main()
