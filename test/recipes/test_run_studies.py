"""Studies on a recipe: which runs they start, that they resume, and what stands there in the end."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = "--max_epoch 2 --num_iters_per_epoch 8 --batch_bins 800 --keep_nbest_models 1"
TINY += (
    " --backbone_conf hidden_size=32 --backbone_conf intermediate_size=64 --backbone_conf num_hidden_layers=2"
)


def run_studies(folder: Path, *options: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["OMP_NUM_THREADS"] = "1"
    command = ["./run_studies.sh", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def copy_of(repo_root: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies egs/<corpus>/asr_sld into a folder with a space in its name."""

    def copy(corpus: str) -> Path:
        root = tmp_path / "my toolkit"
        folder = root / "egs" / corpus / "asr_sld"
        ignored = shutil.ignore_patterns("data", "data_*", "dump*", "exp", "downloads")
        shutil.copytree(repo_root / "egs" / corpus / "asr_sld", folder, ignore=ignored)
        for name in ("utils", "espnet_sld", "egs/TEMPLATE"):
            (root / name).symlink_to(repo_root / name)
        return folder

    return copy


@pytest.fixture(params=["fsdd", "mini", "librispeech"])
def any_recipe(request, copy_of) -> Path:
    """Each recipe that has studies."""
    return copy_of(request.param)


def test_a_dry_run_names_every_step_and_writes_nothing(any_recipe):
    before = sorted(any_recipe.rglob("*"))
    options = ["--study", "temperature", "--seeds", "0 1", "--dry_run", "true", "--", "--nj", "7"]
    done = run_studies(any_recipe, *options)
    assert done.returncode == 0, done.stderr
    # loss masking and four temperatures, two seeds each
    for step in ("--stop_stage 5", "--stage 6 --stop_stage 6", "JOB=1:10", "espnet_sld.bin.study", "--nj 7"):
        assert step in done.stdout
    assert "sld_temperature0.05" in done.stdout.splitlines()[-1] and "plot_curves" in done.stdout
    assert sorted(any_recipe.rglob("*")) == before


def test_both_kinds_of_dev_loss_are_trained_apart_and_drawn_together(copy_of):
    done = run_studies(copy_of("fsdd"), "--study", "table", "--dev_loss", "both", "--dry_run", "true")
    assert done.returncode == 0, done.stderr
    assert "JOB=1:10" in done.stdout  # five objectives, twice
    tables = [line for line in done.stdout.splitlines() if "espnet_sld.bin.study" in line]
    assert [line.split()[-1] for line in tables] == ["exp/study/table", "exp/study/table_maskdev"]
    curves = done.stdout.splitlines()[-1]
    assert "none_maskdev" in curves and "sld_maskdev" in curves and curves.count("maskdev") == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--study", "beta"), "must be alpha, temperature or table"),
        (("--values", "0.1 x"), "expected positive numbers"),
        (("--dev_loss", "half"), "must be unmasked, masked or both"),
        (("--seeds", "a"), "expected numbers"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(any_recipe, options, message):
    done = run_studies(any_recipe, *options, "--dry_run", "true")
    assert done.returncode == 1 and message in done.stderr and not done.stdout


def test_librispeechs_table_runs_both_front_ends_with_their_configurations(copy_of):
    folder = copy_of("librispeech")
    done = run_studies(folder, "--study", "table", "--dry_run", "true")
    assert done.returncode == 0, done.stderr
    for feature in ("wavlm_large/23", "hubert_large_ll60k/23"):
        assert f"./run.sh --kmeans_feature {feature} --dev_parts dev-other" in done.stdout
    for part in ("exp/study_wavlm", "exp/study_hubert", "_hubert.yaml"):
        assert part in done.stdout
    for row in ("none", "ce", "label_smoothing", "kl", "sld"):
        assert (folder / "conf" / f"train_{row}_wavlm.yaml").is_file()
    # nothing was run: the report says so and shows the paper's figures
    done = run_studies(folder, "--study", "table", "--report", "true")
    assert done.returncode == 0 and "wavlm: not run" in done.stderr
    table = (folder / "exp" / "TABLE1.md").read_text()
    assert table.count("not run") > 40 and "| v   | `sld`" in table


@pytest.mark.campaign
def test_a_tiny_sweep_on_digits_is_trained_shown_and_not_trained_again(new_recipe):
    """α at two values against loss masking: all stages, table, plots, a second call, and a gap shown."""
    recipe = new_recipe()
    place = recipe.options.index("--asr_args")
    own = recipe.options[:place] + recipe.options[place + 2 :]
    options = ["--study", "alpha", "--values", "0.008 0.8", "--asr_args", TINY, "--jobs", "2"]
    done = run_studies(recipe.folder, *options, "--", *own)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = recipe.folder / "exp" / "study"
    rows = ("none", "sld", "sld_alpha0.8")
    for row in rows:
        assert (folder / f"asr_sld_{row}_seed0" / "decode_greedy" / "dev" / "result.json").exists()
    config = (folder / "asr_sld_sld_alpha0.8_seed0" / "config.yaml").read_text()
    assert "alpha: 0.8" in config and "objective: sld" in config
    study = json.loads((folder / "alpha.json").read_text())
    assert [(row["name"], row["value"]) for row in study["rows"]] == list(
        zip(rows, (None, 0.008, 0.8), strict=True)
    )
    for row in study["rows"]:
        result = json.loads(
            (folder / f"asr_sld_{row['name']}_seed0/decode_greedy/dev/result.json").read_text()
        )
        assert row["sets"]["dev"]["wer"] == [result["wer"]]
        assert row["sets"]["dev"]["errors"] == [result["sub"] + result["ins"] + result["del"]]
    label = study["rows"][1]["extras"]
    assert 0 < label["q′"] < 1 and study["rows"][2]["extras"]["λ"] == pytest.approx(100 * label["λ"])
    text = (folder / "alpha.md").read_text()
    assert "valid.ce_text (min) on dev" in text and "not about the methods behind them" in text
    curves = json.loads((folder / "alpha_curves.json").read_text())
    assert all(len(curves[row]["0"]["curves"]["ce_text"]["steps"]) == 2 for row in rows)
    for name in ("alpha", "alpha_curves"):
        assert (folder / f"{name}.png").stat().st_size > 10_000 and (folder / f"{name}.svg").exists()

    models = {path: path.stat().st_mtime_ns for path in folder.glob("asr_sld_*/*.pth")}
    again = run_studies(recipe.folder, *options, "--", *own)
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.glob("asr_sld_*/*.pth")} == models
    assert (folder / "alpha.md").read_text() == text
    # a third value is planned, not run: the report shows the gap
    report = run_studies(
        recipe.folder, *options, "--values", "0.008 0.08 0.8", "--report", "true", "--", *own
    )
    assert report.returncode == 0, report.stderr
    line = next(line for line in report.stdout.splitlines() if line.startswith("| `sld_alpha0.08`"))
    assert "not run" in line
