"""Small synthetic token files, and the shortest command line that trains on them."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

WORDS = [f"w{number}" for number in range(20)]
CLUSTERS = 30


def write_set(directory: Path, name: str, count: int, seed: int) -> None:
    """Each word is spoken as its own three units."""
    spelling = random.Random(0)
    units = {word: [spelling.randrange(CLUSTERS) for _ in range(3)] for word in WORDS}
    rng = random.Random(seed)
    speech, text = [], []
    for number in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(1, 5))]
        characters = "".join(chr(0x4E00 + unit) for word in words for unit in units[word])
        speech.append(f"{name}{number:04d} {characters}\n")
        text.append(f"{name}{number:04d} {' '.join(words)}\n")
    (directory / f"{name}.speech").write_text("".join(speech), encoding="utf-8")
    (directory / f"{name}.text").write_text("".join(text), encoding="utf-8")


@pytest.fixture(scope="session")
def runs(load_file) -> ModuleType:
    """`runs.py`: comparing finished trainings, disturbing running ones."""
    return load_file(Path(__file__).with_name("runs.py"))


class TrainingServer:
    """Client of `training_server.py`."""

    def __init__(self, logs: Path):
        script, self.logs, self.started = Path(__file__).with_name("training_server.py"), logs, 0
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        self.process = subprocess.Popen([sys.executable, str(script)], env=environment, **pipes)
        self.files: dict[int, Path] = {}

    def _ask(self, **job) -> int:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, argv: list[str], program: str = "train", **environment: str) -> int:
        """Start a training by `bin.<program>`; its pid."""
        log = self.logs / f"{self.started}.log"
        self.started += 1
        pid = self._ask(argv=argv, program=program, env=environment, log=str(log))
        self.files[pid] = log
        return pid

    def wait(self, *pids: int, seconds: float = 300.0) -> list[int]:
        """Exit codes; a training that is still there after `seconds` is killed."""
        timer = threading.Timer(seconds, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
        timer.start()
        try:
            return [self._ask(wait=pid) for pid in pids]
        finally:
            timer.cancel()

    def log(self, pid: int) -> str:
        """What a training printed."""
        path = self.files[pid]  # the process makes it when it starts
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def close(self) -> None:
        """End the server."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[TrainingServer]:
    """Trainings in processes of their own."""
    server = TrainingServer(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def token_dir(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("tokens")
    write_set(directory, "train", 80, 1)
    write_set(directory, "dev", 23, 2)
    tokens = ["<blank>", "<unk>", *WORDS, "<sos/eos>"]
    (directory / "tokens.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def sequence_options(token_dir: Path) -> Callable[..., Namespace]:
    """Makes options of `SequencePreprocessor.from_args` on the token files; keywords change or add some."""

    def make(**changes) -> Namespace:
        defaults = {
            "text_token_type": "word",
            "text_token_path": str(token_dir),
            "speech_token_type": "unit",
            "speech_token_path": None,
            "num_clusters": CLUSTERS,
            "template": "asr_sld",
            "max_positions": 64,
            "max_text": 8,
            "mask_token": None,
        }
        return Namespace(**defaults | changes)

    return make


@pytest.fixture
def mixtures(load_file, sequence_options, token_dir: Path, tmp_path: Path):
    """`mixtures.py`: a mixture of five data sets, to be changed and opened."""
    return load_file(Path(__file__).with_name("mixtures.py")).Mixtures(token_dir, tmp_path, sequence_options)


@pytest.fixture
def config(token_dir: Path) -> dict:
    return {
        "backbone_conf": {
            "model_type": "llama",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        "max_positions": 64,
        "max_text": 8,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "criterion_conf": {"objective": "sld"},
        "time_mask_prob": 0.05,
        "curriculum_portion": 0.5,
        "curriculum_steps": 0.5,
        "batch_bins": 200,
        "num_iters_per_epoch": 5,
        "max_epoch": 4,
        "optim_conf": {"lr": 0.01},
        "scheduler": "warmup_cosine",
        "scheduler_conf": {"warmup_steps": 0.1},
        "grad_clip": 1.0,
        "keep_nbest_models": 2,
        "use_tensorboard": False,
        "text_token_type": "word",
        "text_token_path": str(token_dir),
        "speech_token_type": "unit",
        "num_clusters": CLUSTERS,
        "peak_flops": 1e10,
        "seed": 3,
    }


@pytest.fixture
def ctc_config(token_dir: Path) -> dict:
    """Of `bin.train_ctc`, on the same token files."""
    return {
        "encoder": "conformer",
        "encoder_conf": {
            "output_size": 24,
            "attention_heads": 2,
            "linear_units": 32,
            "num_blocks": 3,
            "cnn_module_kernel": 5,
        },
        "decoder_conf": {"num_blocks": 1, "attention_heads": 2, "linear_units": 24},
        "interctc_layers": "1 2",
        "criterion_conf": {"row": "interaed"},
        "token_type": "word",
        "token_list": str(token_dir / "tokens.txt"),
        "speech_token_type": "unit",
        "num_clusters": CLUSTERS,
        "batch_bins": 120,
        "num_iters_per_epoch": 5,
        "max_epoch": 4,
        "optim_conf": {"lr": 0.01},
        "scheduler": "warmup_cosine",
        "scheduler_conf": {"warmup_steps": 0.1},
        "grad_clip": 5.0,
        "keep_nbest_models": 2,
        "use_tensorboard": False,
        "seed": 3,
    }


@pytest.fixture
def command(token_dir: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of `bin.train` for a config, an output directory and more options."""

    def build(config: dict, name: str, *more: str) -> list[str]:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        arguments = ["--config", str(path), "--output_dir", str(tmp_path / name)]
        for mode, stem in (("train", "train"), ("valid", "dev")):
            for kind in ("speech", "text"):
                arguments += [
                    f"--{mode}_data_path_and_name_and_type",
                    f"{token_dir}/{stem}.{kind},{kind},text",
                ]
        return [*arguments, *more]

    return build
