"""A recipe from raw audio to its word error rates on a real cluster, against the same on this machine."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign

OPTIONS = [
    *["--nj", "3", "--nclusters", "30", "--unit_nbpe", "60", "--text_nbpe", "60", "--test_sets", "test"],
    *["--corpus_opts", "--num_train 150 --num_dev 20 --num_test 20 --num_test_voices 10"],
]
TRAINING = (
    "--max_epoch 2 --num_iters_per_epoch 8 --batch_bins 800 --keep_nbest_models 1 --log_interval 1"
    " --backbone_conf hidden_size=32 --backbone_conf intermediate_size=64 --backbone_conf num_hidden_layers=2"
)


@pytest.fixture(scope="module")
def recipe(copy_toolkit, tmp_path_factory):
    """Makes a copy of egs/mini whose ./run.sh uses the repository's code, and runs it."""

    def make(environment: dict[str, str]):
        folder = copy_toolkit(tmp_path_factory.mktemp("toolkit"), "mini")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**environment, "PATH": path, "OMP_NUM_THREADS": "1"}

        def run(*options: str) -> str:
            command = ["./run.sh", *OPTIONS, *options]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
            return done.stdout + done.stderr

        return folder, run

    return make


def contents(folder: Path, pattern: str) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob(pattern))}


def losses(log: Path) -> dict[int, float]:
    """Step → training loss, as the log has it."""
    found = re.findall(r"step (\d+)/\d+: loss ([\d.]+),", log.read_text())
    return {int(step): float(loss) for step, loss in found}


@pytest.fixture(scope="module")
def on_slurm(cluster, recipe):
    folder, run = recipe({**cluster.environment, "cmd_backend": "slurm"})
    run("--asr_args", TRAINING)
    return folder, run


def test_all_stages_on_the_cluster_give_the_local_runs_hypotheses(on_slurm, recipe):
    folder, _ = on_slurm
    local, run = recipe({**os.environ, "cmd_backend": "local"})
    run("--asr_args", TRAINING)
    for pattern in ("dump/raw/*/text.*", "exp/asr_sld_*/decode_*/*/text", "exp/asr_sld_*/decode_*/*/hyp.trn"):
        assert contents(folder, pattern) == contents(local, pattern) != {}, pattern
    logs = list(folder.glob("exp/**/*.log")) + list(folder.glob("dump/extracted/**/*.log"))
    jobs = [log for log in logs if re.search(r"^# Started at .* on node\d, job \d+", log.read_text(), re.M)]
    assert len(jobs) >= 9  # k-means, three shards of each set, shapes, training, decoding, scoring
    assert list(folder.glob("**/*.slurm")) == []


# Dropout is each process's own draw.
CURVE = f"{TRAINING} --num_iters_per_epoch 30 --dropout 0 --residual_dropout 0"


@pytest.fixture(scope="module")
def one_process(on_slurm) -> dict[int, float]:
    """Losses of a training by one process."""
    folder, run = on_slurm
    run("--stage", "7", "--stop_stage", "7", "--asr_tag", "one", "--asr_args", CURVE)
    return losses(folder / "exp/asr_sld_one/train.log")


def test_training_on_two_nodes_has_the_losses_of_one_process(on_slurm, one_process):
    folder, run = on_slurm
    run("--stage", "7", "--stop_stage", "7", "--num_nodes", "2", "--asr_tag", "two", "--asr_args", CURVE)
    log = folder / "exp/asr_sld_two/train.log"
    assert "srun --nodes 2" in log.read_text()
    assert losses(log) == pytest.approx(one_process, rel=1e-3)  # the log has four digits
    assert len(one_process) == 60


def test_training_on_two_nodes_told_to_stop_goes_on_in_another_job(on_slurm, one_process, cluster):
    folder, run = on_slurm
    log = folder / "exp/asr_sld_stopped/train.log"
    told = []

    def tell() -> None:
        while not (log.exists() and "step 10/60" in log.read_text()):
            time.sleep(0.1)
        jobs = cluster.command("squeue", "--me", "--noheader", "--format=%A").split()
        told.append(cluster.command("scancel", "--batch", "--signal=USR1", *jobs))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    options = ["--num_nodes", "2", "--asr_tag", "stopped", "--asr_args", CURVE]
    said = run("--stage", "7", "--stop_stage", "7", *options)
    assert told == [""]
    assert "saved its state and asks to be run again; submitted again" in said
    assert losses(log) == pytest.approx(one_process, rel=1e-3)
