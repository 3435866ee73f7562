"""The lines of docs/models.md, run as they stand there; and the installed command."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from espnet_sld.bin import transcribe

OURS = """#!/usr/bin/env bash
set -euo pipefail
. ./path.sh
"${MAIN_ROOT}/egs/TEMPLATE/asr_sld.sh" --dev_set test --test_sets test --nj 1 --nclusters 99 --unit_case rm \\
  --datadir other/data --dumpdir other/dump --expdir other/exp "$@"
"""
DATA = """#!/usr/bin/env bash
[ "$1" = --data_dir ]; mkdir -p "$2"; cp -r dump/raw/org/. "$2"
"""


@dataclass
class Place:
    """A recipe folder with the experiment `exp/asr_sld_demo` and two recordings; how to run lines in it."""

    folder: Path
    environment: dict[str, str]

    def run(self, kind: str, block: str) -> str:
        """What a block of a document prints."""
        command = ["bash", "-euo", "pipefail", "-c", block] if kind == "sh" else [sys.executable, "-c", block]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def place(repo_root, recipe, tmp_path) -> Place:
    recipe.experiment("plain")
    for name in ("utils", "espnet_sld", "egs/TEMPLATE"):
        link = tmp_path / "toolkit" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(repo_root / name)
    folder = Path(shutil.copytree(recipe.folder, tmp_path / "toolkit" / "egs" / "digits" / "asr_sld"))
    (folder / "exp" / "asr_sld_demo").symlink_to("asr_sld_plain")
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
    return Place(folder, environment)


@pytest.mark.slow
def test_the_lines_of_the_document_run(repo_root, place):
    text = (repo_root / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "sh", "python", "sh", "python", "sh", "sh"]
    outputs = [place.run(kind, block) for kind, block in blocks]
    heard = outputs[1].splitlines()[0].split("\t")
    assert heard[0] == "speech.wav" and heard[1]
    assert outputs[2].startswith(heard[1])
    folder = place.folder
    assert (folder / "subtitles" / "speech.srt").is_file() and (folder / "subtitles" / "talk.srt").is_file()
    assert "would send" in outputs[5] and "kmeans_feature=mfcc" in outputs[6]
    assert (folder / "other" / "exp" / "kmeans" / "mfcc_12clusters" / "km_12.safetensors").is_file()


@pytest.mark.slow
def test_the_readmes_lines_run_and_a_packed_tokeniser_gives_the_units_it_was_packed_with(repo_root, place):
    """`./run.sh --tokenizer` makes the same files elsewhere, fits nothing, outweighs run.sh's options."""
    folder = place.folder
    recipe_of_ours = repo_root / "egs" / "fsdd" / "asr_sld"
    for name in ("path.sh", "cmd.sh", "conf"):
        (folder / name).symlink_to(recipe_of_ours / name)
    (folder / "local").mkdir()
    for name, content in (("run.sh", OURS), ("local/data.sh", DATA)):
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## Models that travel\n.*?```sh\n(.*?)```", text, re.DOTALL)
    printed = place.run("sh", block)
    assert "dump: keeps asr2's contract" in printed and "speech.wav\t" in printed
    assert (folder / "exported" / "demo" / "model.safetensors").is_file()
    for name in ("train", "test"):
        for file in ("text.ts.mfcc_km12", "text.rm.mfcc_km12", "text.ts.en"):
            again = (folder / "other" / "dump" / "raw" / name / file).read_bytes()
            assert again == (folder / "dump" / "raw" / name / file).read_bytes() != b""
    kmeans = "exp/kmeans/mfcc_12clusters/km_12.safetensors"
    assert (folder / "other" / kmeans).read_bytes() == (folder / kmeans).read_bytes()
    assert [path.name for path in (folder / "other" / "exp").rglob("kmeans.log")] == []
    lists = "data/token_list/src_bpe_unigram60_ts_mfcc_km12"
    for file in ("bpe.model", "tokens.txt"):
        assert (folder / "other" / lists / file).read_bytes() == (folder / lists / file).read_bytes()


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
