"""A small copy of egs/fsdd/asr_sld on real recordings, ten stages in under a minute; and kill -9 for it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
MOST_TAKES = 11  # of every speaker and digit: 0-4 are for test, 5-9 for dev, the last one for training
MARK = "FAULT_CAMPAIGN_RUN"  # in the environment of every process of a run
STAGE = re.compile(r"\) stage (\d+): ")
OUTPUTS = re.compile("(data|dump|exp|downloads)(_.*)?")
POLL = 0.02

# Training saves its state every few steps, as a long one does every few minutes.
OPTIONS = {
    "nclusters": "40",
    "unit_nbpe": "80",
    "text_nbpe": "30",
    "test_sets": "test_isolated",
    "speed_perturb_factors": "0.9 1.0",
    "corpus_opts": "--num_train_strings 60 --num_dev_strings 20 --num_test_strings 20",
    "asr_args": (
        "--max_epoch 5 --num_iters_per_epoch 40 --batch_bins 800 --keep_nbest_models 2 "
        "--save_interval_steps 7 --backbone_conf hidden_size=32 --backbone_conf intermediate_size=64 "
        "--backbone_conf num_hidden_layers=2"
    ),
}


def few_recordings(source: Path, target: Path) -> Path:
    """Link the first takes of every speaker and digit; returns what --fsdd_dir wants."""
    folder = target / "recordings"
    folder.mkdir(parents=True)
    for path in (source / "recordings").glob("*.wav"):
        if int(path.stem.split("_")[2]) < MOST_TAKES:
            (folder / path.name).symlink_to(path.resolve())
    return target


def copy_recipe(target: Path, root: Path = REPO) -> Path:
    """A folder `target`/egs/fsdd/asr_sld without outputs, whose ./run.sh uses the code of `root`."""
    (target / "egs" / "fsdd").mkdir(parents=True)
    for name in ("utils", "espnet_sld", "egs/TEMPLATE"):
        (target / name).symlink_to(root / name)
    source, folder = (top / "egs" / "fsdd" / "asr_sld" for top in (root, target))
    shutil.copytree(
        source,
        folder,
        ignore=lambda where, names: [n for n in names if Path(where) == source and OUTPUTS.fullmatch(n)],
    )
    return folder


class Run:
    """One start of a recipe's ./run.sh. `stage` is where it is, `times` when each stage began (monotonic)."""

    def __init__(self, folder: Path, fsdd_dir: Path, log: Path):
        command = ["./run.sh", "--fsdd_dir", str(fsdd_dir)]
        command += [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
        self.folder, self.log, self.times, self.stage = folder, log, {}, 0
        self.mark = os.urandom(8).hex()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", MARK: self.mark}
        self.began = time.monotonic()
        self._position = 0
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
            )

    def ended(self) -> bool:
        """Whether the command has ended; takes in what it printed."""
        ended = self.process.poll() is not None
        with self.log.open() as stream:
            stream.seek(self._position)
            text = stream.read()
            whole = text.rfind("\n") + 1
            self._position += len(text[:whole].encode())
        for number in STAGE.findall(text[:whole]):
            self.stage = int(number)
            self.times[self.stage] = time.monotonic()
        return ended

    def wait(self) -> int:
        """Until the end; the exit code."""
        while not self.ended():
            time.sleep(POLL)
        self.times[self.stage + 1] = time.monotonic()
        return self.process.returncode

    def reach(self, stage: int, file: str = "") -> bool:
        """Wait until the run is in that stage, and until a file matching the pattern was written by it.

        Returns:
            False if the run ended before.
        """
        started = time.time()
        while True:
            ended = self.ended()
            written = not file or any(p.stat().st_mtime > started for p in self.folder.glob(file))
            if self.stage > stage or (self.stage == stage and written):
                return not ended
            if ended:
                return False
            time.sleep(POLL)

    def pause(self, seconds: float) -> bool:
        """Let it run for a moment; False if it ended in it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.ended():
                return False
            time.sleep(POLL)
        return not self.ended()

    def kill(self, *, everything: bool) -> None:
        """kill -9: `everything` of the run, as where a machine stops, or ./run.sh's process group alone.

        In the second case what utils/run.py started finds out by itself, and may still be ending when the
        same command is started again.
        """
        if everything:
            end_all(self.mark)
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.ended()


def end_all(mark: str) -> None:
    """kill -9 to every process of a run, until none is left."""
    while processes := _processes(mark):
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(POLL)


def _processes(mark: str) -> list[int]:
    wanted, found = f"{MARK}={mark}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_bytes().split(b"\0")
        except OSError:  # ended, or of somebody else
            continue
        if wanted in environment:
            found.append(int(path.parent.name))
    return found
