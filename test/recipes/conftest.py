"""A recipe folder of its own for every test: the repository's code, the test's data and outputs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

TINY_TRAINING = "--max_epoch 2 --num_iters_per_epoch 8 --batch_bins 800 --keep_nbest_models 1"
TINY_MODEL = (
    "--backbone_conf hidden_size=32 --backbone_conf intermediate_size=64 --backbone_conf num_hidden_layers=2"
)


@dataclass
class Recipe:
    """A copy of egs/<corpus>/<system> whose `script` uses the repository's code."""

    folder: Path
    options: list[str]
    script: str = "./run.sh"

    def command(self, *options: str) -> list[str]:
        return [self.script, *self.options, *options]

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}

    def run(self, *options: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run the script; on an unexpected failure show all that it printed."""
        done = subprocess.run(
            self.command(*options), cwd=self.folder, env=self.environment(), capture_output=True, text=True
        )
        if check and done.returncode:
            pytest.fail(f"{done.args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def kill_in_stage(self, stage: int, after: float = 0.0, seen: str = "") -> bool:
        """Start the recipe and kill -9 all of it in `stage`: `after` seconds after a file `seen` is there.

        Returns:
            False if the recipe ended before.
        """
        log = self.folder.parent / "killed.txt"
        with log.open("w") as stream:
            process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        while f"stage {stage}:" not in log.read_text() or (seen and not any(self.folder.glob(seen))):
            if process.poll() is not None:
                return False
            time.sleep(0.02)
        try:
            process.wait(after)
            return False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True

    def hypotheses(self) -> dict[str, str]:
        """Every hypothesis file of the experiment, by its path below exp/."""
        files = sorted(self.folder.glob("exp/asr_sld_*/decode_*/*/text"))
        return {str(file.relative_to(self.folder)): file.read_text() for file in files}


@pytest.fixture(scope="session")
def few_digits(fsdd_dir: Path, tmp_path_factory) -> Path:
    """The first recordings of every speaker and digit: real audio, quickly done with."""
    folder = tmp_path_factory.mktemp("fsdd") / "recordings"
    folder.mkdir()
    for wav in (fsdd_dir / "recordings").glob("*.wav"):
        if int(wav.stem.split("_")[2]) < 12:
            (folder / wav.name).symlink_to(wav.resolve())
    return folder.parent


@pytest.fixture(scope="session")
def copy_recipe(copy_toolkit, tmp_path_factory) -> Callable[..., Recipe]:
    """Makes a fresh copy of egs/<corpus>/<system>, to be run with the given options before a test's own."""

    def copy(corpus: str, options: list[str], system: str = "asr_sld") -> Recipe:
        return Recipe(copy_toolkit(tmp_path_factory.mktemp("toolkit"), corpus, system), options)

    return copy


@pytest.fixture
def copy_with_space(copy_toolkit, tmp_path: Path) -> Callable[[str, str], Recipe]:
    """Copies egs/<corpus>/asr_sld into a folder with a space in its name; the copy runs `script`."""
    return lambda corpus, script: Recipe(copy_toolkit(tmp_path / "my toolkit", corpus), [], script)


@pytest.fixture(scope="session")
def link_chapters(librispeech_dir: Path, tmp_path_factory) -> Callable[[dict[str, tuple[str, ...]]], Path]:
    """Makes a folder with LibriSpeech/<part>/<chapter> of the genuine corpus, by links, and its tables."""

    def link(chapters_of: dict[str, tuple[str, ...]]) -> Path:
        corpus = tmp_path_factory.mktemp("corpora") / "LibriSpeech"
        for part, chapters in chapters_of.items():
            for chapter in chapters:
                (corpus / part / chapter).parent.mkdir(parents=True, exist_ok=True)
                (corpus / part / chapter).symlink_to(librispeech_dir / part / chapter)
        for table in librispeech_dir.glob("*.TXT"):
            (corpus / table.name).symlink_to(table)
        return corpus.parent

    return link


@pytest.fixture(scope="session")
def tiny_training() -> str:
    """Options of a training that is over in seconds."""
    return f"{TINY_TRAINING} {TINY_MODEL}"


@pytest.fixture(scope="session")
def new_recipe(copy_recipe, few_digits: Path, tiny_training: str) -> Callable[[], Recipe]:
    """Makes a fresh tiny FSDD recipe folder."""

    def make() -> Recipe:
        options = [
            "--fsdd_dir",
            str(few_digits),
            "--nclusters",
            "40",
            "--unit_nbpe",
            "80",
            "--text_nbpe",
            "30",
        ]
        options += [
            "--test_sets",
            "test_isolated test_strings",
            "--asr_args",
            tiny_training,
        ]
        options += ["--speed_perturb_factors", ""]
        options += ["--corpus_opts", "--num_train_strings 60 --num_dev_strings 20 --num_test_strings 20"]
        return copy_recipe("fsdd", options)

    return make
