"""The lines of docs/models.md, run as they stand there; and the installed command."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_sld.bin import transcribe


@pytest.mark.slow
def test_the_lines_of_the_document_run(repo_root, recipe, tmp_path):
    recipe.experiment("plain")
    folder = Path(shutil.copytree(recipe.folder, tmp_path / "recipe"))
    (folder / "exp" / "asr_sld_demo").symlink_to("asr_sld_plain")
    import soundfile

    samples, rate = soundfile.read(next(iter(recipe.wavs().values())))
    soundfile.write(folder / "speech.wav", samples, rate)
    soundfile.write(folder / "talk.mp3", samples, rate)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in (
        ("python3", f'exec {sys.executable} "$@"'),
        ("espnet-sld-transcribe", f'exec {sys.executable} -m espnet_sld.bin.transcribe "$@"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{command}\n")
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(repo_root),
        "ESPNET_SLD_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    text = (repo_root / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "sh", "python", "sh", "python", "sh", "sh"]
    outputs = []
    for kind, block in blocks:
        command = ["bash", "-euo", "pipefail", "-c", block] if kind == "sh" else [sys.executable, "-c", block]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    heard = outputs[1].splitlines()[0].split("\t")
    assert heard[0] == "speech.wav" and heard[1]
    assert outputs[2].startswith(heard[1])
    assert (folder / "subtitles" / "speech.srt").is_file() and (folder / "subtitles" / "talk.srt").is_file()
    assert "would send" in outputs[5] and "kmeans_feature=mfcc" in outputs[6]
    assert (folder / "other" / "exp" / "kmeans" / "mfcc_12clusters" / "km_12.safetensors").is_file()


def test_documents_point_to_files_that_exist(repo_root):
    text = (repo_root / "docs" / "models.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (repo_root / "docs" / link).exists()] == []
    assert re.findall(r"@[A-Z]+@|TODO|FIXME", text) == []


def test_the_installed_command_is_the_module(repo_root, monkeypatch):
    import setuptools

    found = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: found.update(options))
    monkeypatch.chdir(repo_root)
    runpy.run_path(str(repo_root / "setup.py"))
    (script,) = found["entry_points"]["console_scripts"]
    assert script == "espnet-sld-transcribe=espnet_sld.bin.transcribe:entry"
    assert callable(transcribe.entry) and transcribe.get_parser().prog == "espnet-sld-transcribe"
