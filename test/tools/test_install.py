"""tools/install.sh on machines that lack something, and the settings that it hands to uv."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = (
    "bash sed grep awk cat cksum tr dirname date mkdir ln ls df rm mktemp wc cut du touch readlink flock env"
)


@pytest.fixture
def checkout(repo_root: Path, tmp_path: Path) -> Path:
    """A checkout with the files that the installation reads, and a PATH folder `bin` without any Python."""
    root = tmp_path / "checkout"
    for name in ("tools", "utils"):
        shutil.copytree(repo_root / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "espnet_sld").mkdir()
    for name in ("setup.py", "espnet_sld/version.py"):
        shutil.copy(repo_root / name, root / name)
    (tmp_path / "bin").mkdir()
    for program in PROGRAMS.split():
        if found := shutil.which(program):
            (tmp_path / "bin" / program).symlink_to(found)
    return root


def fake_python(checkout: Path, name: str, version: str, *, venv: bool) -> None:
    """A `python` that says a version and has the module venv or not."""
    path = checkout.parent / "bin" / name
    cases = f"*version_info*) echo {version} ;; *ensurepip*) exit {0 if venv else 1} ;;"
    path.write_text(f'#!/bin/sh\ncase "$*" in {cases} esac\n')
    path.chmod(0o755)


def install(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    env = {"PATH": str(checkout.parent / "bin"), "HOME": str(checkout.parent), **environment}
    command = [shutil.which("bash"), str(checkout / "tools" / "install.sh"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, cwd="/")


def test_an_unsupported_python_is_named_with_the_remedy(checkout):
    fake_python(checkout, "python3", "3.13", venv=True)
    done = install(checkout)
    assert done.returncode == 1
    assert "no Python 3.11 or 3.12 found" in done.stderr
    assert "python3 (3.13)" in done.stderr and "apt install python3.11" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_does_not_run_is_passed_over(checkout):
    broken = checkout.parent / "bin" / "python3.11"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    assert "python3.11 (does not run)" in install(checkout).stderr


def test_a_missing_venv_module_names_the_package(checkout):
    fake_python(checkout, "python3", "3.12", venv=False)
    done = install(checkout)
    assert done.returncode == 1
    assert "python3.12-venv" in done.stderr


def test_a_folder_that_is_no_environment_is_left_alone(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "precious").write_text("")
    done = install(checkout)
    assert done.returncode == 1 and "is no Python environment" in done.stderr
    assert (checkout / ".venv" / "precious").exists()


def test_unknown_backends_and_arguments_are_refused(checkout):
    assert "cpu, cu126, cu130 or auto" in install(checkout, "--torch_backend", "rocm").stderr
    assert "unexpected argument: cpu" in install(checkout, "cpu").stderr
    assert "no such option" in install(checkout, "--backend", "cpu").stderr


def test_a_named_environment_is_linked_and_an_own_one_is_never_replaced(checkout, tmp_path):
    fake_python(checkout, "python3", "3.13", venv=True)
    install(checkout, ESPNET_SLD_VENV=str(tmp_path / "elsewhere"))
    assert (checkout / ".venv").is_symlink()
    assert os.readlink(checkout / ".venv") == str(tmp_path / "elsewhere")
    (checkout / ".venv").unlink()
    (checkout / ".venv").mkdir()
    assert "remove .venv or unset" in install(checkout, ESPNET_SLD_VENV=str(tmp_path / "elsewhere")).stderr


def test_pip_settings_are_read_with_pips_precedence(load_file, repo_root):
    module = load_file(repo_root / "tools" / "pip_settings.py")
    listing = """\
:env:.find-links='/wheels /more'
:env:.timeout='60'
global.extra-index-url='https://a/simple\\nfile:///b/simple'
global.find-links='/ignored'
global.index-url='https://main/simple'
install.index-url='https://install/simple'
download.index-url='https://other/simple'
"""
    settings = module.parse_config(listing)
    assert settings["timeout"] == "60"
    assert module.uv_arguments(settings) == [
        *("--index-strategy", "unsafe-best-match"),
        *("--index", "https://install/simple", "--index", "https://a/simple"),
        *("--default-index", "file:///b/simple"),
        *("--find-links", "/wheels", "--find-links", "/more"),
    ]
    assert "--no-index" in module.uv_arguments({"no-index": "true"})


def test_locks_pin_one_torch_and_the_same_packages(load_file, repo_root):
    module = load_file(repo_root / "tools" / "check_install.py")
    cpu, gpu = (module.read_lock(repo_root / "tools" / f"{kind}.lock") for kind in ("cpu", "gpu"))
    assert cpu["torch"] == gpu["torch"]
    assert cpu.items() <= gpu.items()
    assert "torchaudio" not in cpu and "pyworld" not in gpu
    assert int(cpu["setuptools"].split(".")[0]) >= 77


def test_every_requirement_of_setup_py_is_in_the_lock(load_file, repo_root):
    module = load_file(repo_root / "tools" / "check_install.py")
    lock = module.read_lock(repo_root / "tools" / "cpu.lock")
    for name, (wanted, _) in module.read_requirements(repo_root / "setup.py").items():
        assert module.within(lock[name], wanted), name


def test_a_missing_or_old_required_package_fails_and_an_optional_one_does_not(
    load_file, repo_root, monkeypatch, capsys
):
    module = load_file(repo_root / "tools" / "check_install.py")
    complete = module.read_lock(repo_root / "tools" / "cpu.lock")
    monkeypatch.setattr(module, "torch_row", lambda: module.Row("torch loads", "", "2", True, "no GPU"))

    def check(**changed: str | None) -> int:
        versions = {**complete, **{name.replace("_", "-"): version for name, version in changed.items()}}
        versions = {name: version for name, version in versions.items() if version is not None}
        monkeypatch.setattr(module, "installed_versions", lambda: versions)
        return module.main(["--quiet"])

    assert check() == 0
    assert check(torch=complete["torch"] + "+cpu") == 0
    assert check(s3prl=None, espeakng_loader=None, sacrebleu=None) == 0
    assert capsys.readouterr().out == ""
    assert check(jiwer=None) == 1
    assert check(urllib3=None) == 1  # only in the lock
    assert check(transformers="4.57.0") == 1
    assert "out of range" in capsys.readouterr().out


def test_missing_packages_are_listed_as_requirements(load_file, repo_root, monkeypatch, capsys):
    module = load_file(repo_root / "tools" / "check_install.py")
    complete = module.read_lock(repo_root / "tools" / "cpu.lock")
    versions = {name: version for name, version in complete.items() if name != "jiwer"}
    monkeypatch.setattr(module, "installed_versions", lambda: versions)
    assert module.main(["--missing"]) == 0
    assert capsys.readouterr().out == f"jiwer=={complete['jiwer']}\n"
