"""Studies on a recipe: which runs they start, that they resume, and what stands there in the end."""

import json

import pytest

SCRIPT = "./run_studies.sh"


@pytest.fixture(params=["fsdd", "mini", "librispeech"])
def any_recipe(request, copy_with_space):
    """Each recipe that has studies."""
    return copy_with_space(request.param, SCRIPT)


def test_a_dry_run_names_every_step_and_writes_nothing(any_recipe):
    before = sorted(any_recipe.folder.rglob("*"))
    options = ["--study", "temperature", "--seeds", "0 1", "--dry_run", "true", "--", "--nj", "7"]
    done = any_recipe.run(*options)
    # loss masking and four temperatures, two seeds each
    for step in ("--stop_stage 5", "--stage 6 --stop_stage 6", "JOB=1:10", "espnet_sld.bin.study", "--nj 7"):
        assert step in done.stdout
    assert "sld_temperature0.05" in done.stdout.splitlines()[-1] and "plot_curves" in done.stdout
    assert sorted(any_recipe.folder.rglob("*")) == before


@pytest.mark.slow
def test_both_kinds_of_dev_loss_are_trained_apart_and_drawn_together(copy_with_space):
    recipe = copy_with_space("fsdd", SCRIPT)
    done = recipe.run("--study", "table", "--dev_loss", "both", "--dry_run", "true")
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
    done = any_recipe.run(*options, "--dry_run", "true", check=False)
    assert done.returncode == 1 and message in done.stderr and not done.stdout


@pytest.mark.slow
def test_librispeechs_table_runs_both_front_ends_with_their_configurations(copy_with_space):
    recipe = copy_with_space("librispeech", SCRIPT)
    done = recipe.run("--study", "table", "--dry_run", "true")
    for feature in ("wavlm_large/23", "hubert_large_ll60k/23"):
        assert f"./run.sh --kmeans_feature {feature} --dev_parts dev-other" in done.stdout
    for part in ("exp/study_wavlm", "exp/study_hubert", "_hubert.yaml"):
        assert part in done.stdout
    for row in ("none", "ce", "label_smoothing", "kl", "sld"):
        assert (recipe.folder / "conf" / f"train_{row}_wavlm.yaml").is_file()
    # nothing was run: the report says so and shows the paper's figures
    done = recipe.run("--study", "table", "--report", "true")
    assert "wavlm: not run" in done.stderr
    table = (recipe.folder / "exp" / "TABLE1.md").read_text()
    assert table.count("not run") > 40 and "| v   | `sld`" in table


@pytest.mark.campaign
def test_a_tiny_sweep_on_digits_is_trained_shown_and_not_trained_again(new_recipe, tiny_training):
    """α at two values against loss masking: all stages, table, plots, a second call, and a gap shown."""
    recipe = new_recipe()
    place = recipe.options.index("--asr_args")
    own = recipe.options[:place] + recipe.options[place + 2 :]
    recipe.script = SCRIPT
    recipe.options = ["--study", "alpha", "--values", "0.008 0.8", "--asr_args", tiny_training, "--jobs", "2"]
    recipe.run("--", *own)
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
    recipe.run("--", *own)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("asr_sld_*/*.pth")} == models
    assert (folder / "alpha.md").read_text() == text
    # a third value is planned, not run: the report shows the gap
    report = recipe.run("--values", "0.008 0.08 0.8", "--report", "true", "--", *own)
    line = next(line for line in report.stdout.splitlines() if line.startswith("| `sld_alpha0.08`"))
    assert "not run" in line
