"""Fixtures shared by all tests: the repository, its recipes and helper modules, and the real recordings."""

import importlib.util
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return REPO


@pytest.fixture(scope="session")
def load_file() -> Callable[[Path], ModuleType]:
    """Loads a Python file of no package as a module of its own name, which nobody else can import."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def small_ssl(load_file, repo_root: Path) -> ModuleType:
    """The makers of small checkpoints, `small_ssl.py`."""
    return load_file(repo_root / "test" / "small_ssl.py")


@pytest.fixture(scope="session")
def small_report(load_file, repo_root: Path) -> ModuleType:
    """The maker of a recipe with finished experiments, `small_report.py`."""
    return load_file(repo_root / "test" / "small_report.py")


@pytest.fixture(scope="session")
def small_tasks(load_file, repo_root: Path) -> ModuleType:
    """The makers of recipes with a CTC ablation and with models of four tasks, `small_tasks.py`."""
    return load_file(repo_root / "test" / "small_tasks.py")


@pytest.fixture(scope="session")
def train_byte_level() -> Callable:
    """Trains a small byte-level BPE like GPT-2's on lines of text: a Hugging Face tokenizer, to be saved."""

    def train(texts: list[str], vocab_size: int):
        from tokenizers import ByteLevelBPETokenizer
        from transformers import PreTrainedTokenizerFast

        end = "<|endoftext|>"
        trained = ByteLevelBPETokenizer()
        trained.train_from_iterator(texts, vocab_size=vocab_size, special_tokens=[end], show_progress=False)
        roles = dict.fromkeys(("bos_token", "eos_token", "unk_token"), end)
        return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, **roles)

    return train


@pytest.fixture(scope="session")
def start_browser(repo_root: Path) -> Callable:
    """Starts Chromium with a profile; installed where root may, else its tests are skipped loudly."""
    sys.path.insert(0, str(repo_root / "tools" / "test_browser"))
    from chromium import Chromium, unavailable

    if reason := unavailable():
        warnings.warn(f"NO BROWSER: the tests of pages are skipped: {reason}", stacklevel=1)
        pytest.skip(f"no browser: {reason}")
    return Chromium


@pytest.fixture(scope="module")
def browser(start_browser, tmp_path_factory):
    """A running browser with a profile of its own."""
    with start_browser(tmp_path_factory.mktemp("browser") / "profile") as running:
        yield running


@pytest.fixture(scope="session")
def reader(load_file, repo_root: Path) -> ModuleType:
    """What a reader of report.html does in the browser, `report_reader.py`."""
    return load_file(repo_root / "test" / "report_reader.py")


@pytest.fixture(scope="session")
def copy_toolkit(repo_root: Path) -> Callable[..., Path]:
    """Copies egs/<corpus>/<system>, without its outputs, into a toolkit of the repository's code in `root`.

    The copy's folder is returned. The corpus's asr_sld is there too: the other systems use its data scripts.
    """
    outputs = re.compile("(data|dump|exp|downloads)(_.*)?")

    def copy(root: Path, corpus: str, system: str = "asr_sld") -> Path:
        (root / "egs").mkdir(parents=True)
        for name in ("utils", "espnet_sld", "egs/TEMPLATE"):
            (root / name).symlink_to(repo_root / name)
        for name in {"asr_sld", system}:
            source = repo_root / "egs" / corpus / name
            shutil.copytree(source, root / "egs" / corpus / name, ignore=lambda where, names, top=source: [
                entry for entry in names if Path(where) == top and outputs.fullmatch(entry)
            ])  # fmt: skip
        return root / "egs" / corpus / system

    return copy


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real recordings: $ESPNET_SLD_TEST_DATA, else ../shared/data; skipped loudly where neither is."""
    candidates = [os.environ.get("ESPNET_SLD_TEST_DATA"), REPO.parent / "shared" / "data"]
    for candidate in candidates:
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    warnings.warn(
        "NO REAL RECORDINGS: set ESPNET_SLD_TEST_DATA; tests on real audio are skipped", stacklevel=1
    )
    pytest.skip("set ESPNET_SLD_TEST_DATA to a folder with fsdd/recordings and LibriSpeech")


@pytest.fixture(scope="session")
def fsdd_dir(real_data: Path) -> Path:
    directory = real_data / "fsdd"
    if not directory.is_dir():
        pytest.skip(f"no {directory}")
    return directory


@pytest.fixture(scope="session")
def librispeech_dir(real_data: Path) -> Path:
    directory = real_data / "LibriSpeech"
    if not directory.is_dir():
        pytest.skip(f"no {directory}")
    return directory
