"""The stand-in for an absent package imports, fails on use with a reason, and never shadows a real one."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

from espnet_sld.tasks.torchaudio_placeholder import PlaceholderFinder, install


@pytest.fixture
def clean():
    before = list(sys.meta_path), set(sys.modules)
    yield
    sys.meta_path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        del sys.modules[name]


def test_an_absent_package_imports_with_submodules_and_fails_on_use(clean) -> None:
    assert install("absent_audio_package")
    module = importlib.import_module("absent_audio_package")
    deeper = importlib.import_module("absent_audio_package.compliance.kaldi")
    with pytest.raises(ImportError, match=r"absent_audio_package\.functional\.resample is needed here"):
        module.functional.resample([1.0])
    with pytest.raises(ImportError, match="install absent_audio_package"):
        deeper.fbank()
    assert not hasattr(module, "__version__")


def test_an_installed_package_is_left_alone(clean) -> None:
    assert not install("json")  # imported already
    assert not install("this")  # there, not imported
    packages = {finder.package for finder in sys.meta_path if isinstance(finder, PlaceholderFinder)}
    assert not packages & {"json", "this"}


def test_installing_twice_adds_one_finder(clean) -> None:
    install("absent_audio_package")
    count = len(sys.meta_path)
    assert install("absent_audio_package")
    assert len(sys.meta_path) == count


def test_espnet_imports_and_transformers_is_not_deceived() -> None:
    from espnet_sld.bin.train import load_task

    assert load_task().__name__ == "DecoderOnlyTask"
    import torchaudio
    from transformers.utils import is_torchaudio_available

    placeholder = type(torchaudio).__name__ == "_PlaceholderModule"
    assert is_torchaudio_available() != placeholder


@pytest.mark.slow
@pytest.mark.parametrize("module", ["espnet2.bin.mt_train", "espnet2.bin.lm_train"])
def test_a_stock_program_runs_through_the_entry(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "espnet_sld.bin.espnet", module, "--print_config"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "batch_bins:" in done.stdout


def test_the_entry_refuses_what_is_no_espnet_module() -> None:
    from espnet_sld.bin.espnet import main
    from espnet_sld.errors import InputError

    with pytest.raises(InputError, match="os: not an ESPnet module"):
        main(["os"])
