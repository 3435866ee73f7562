"""Studies: which runs they need, what their tables say, and what they do not claim."""

import json
from pathlib import Path

import numpy as np
import pytest

from espnet_sld.bin import study
from espnet_sld.errors import InputError
from espnet_sld.scoring.contrasts import contrast_rows
from espnet_sld.scoring.run_info import read_run_info
from espnet_sld.scoring.runs import read_runs
from espnet_sld.scoring.significance import compare_methods, compare_models
from espnet_sld.scoring.study import plan_rows

CONF = {"alpha": 0.008, "epsilon": 0.1, "temperature": 1.0}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("criterion_conf: {alpha: 0.008, epsilon: 0.1, temperature: 1.0}\n")
    return path


def report(runs_dir, config, *options):
    arguments = ["--asr_config", str(config), "--runs_dir", str(runs_dir), "--out", str(runs_dir / "out.0.1")]
    study.main([*arguments, "--resamples", "300", *options])
    return (runs_dir / "out.0.1.md").read_text(), json.loads((runs_dir / "out.0.1.json").read_text())


# -- the plan -------------------------------------------------------------------------------------
def test_the_published_value_is_the_same_run_in_every_study():
    alphas, temperatures, table = (
        plan_rows(name, criterion_conf=CONF) for name in ("alpha", "temperature", "table")
    )
    assert [row.value for row in alphas] == [None, 0.0008, 0.008, 0.08, 0.8]
    assert [row.value for row in temperatures] == [None, 1.0, 0.3, 0.1, 0.05]
    names = [{row.name for row in rows} for rows in (alphas, temperatures, table)]
    assert set.intersection(*names) == {"none", "sld"}
    assert next(row for row in alphas if row.name == "sld").options == ()
    varied = next(row for row in temperatures if row.value == 0.3)
    assert varied.options == ("--criterion_conf", "temperature=0.3") and varied.objective == "sld"


def test_a_configuration_with_another_value_of_its_own_is_not_mistaken_for_the_published_one():
    rows = plan_rows("alpha", ["0.008", "0.1"], criterion_conf={"alpha": 0.1}, reference=None)
    assert [(row.name, row.options) for row in rows] == [
        ("sld_alpha0.008", ("--criterion_conf", "alpha=0.008")),
        ("sld", ()),
    ]


def test_runs_with_a_masked_dev_loss_are_other_runs():
    plain, masked = plan_rows("table"), plan_rows("table", masked=True)
    assert not {row.name for row in plain} & {row.name for row in masked}
    assert all(row.options == ("--mask_dev", "true") for row in masked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("beta",), "must be alpha, temperature or table"),
        (("alpha", ["0.1", "minus"]), "--values minus: expected positive numbers"),
        (("alpha", ["0.1", "0.10"]), "comes twice"),
        (("table", ["sld", "slt"]), "--values slt: no such objective"),
    ],
)
def test_wrong_values_are_refused_before_anything_runs(arguments, message):
    with pytest.raises(InputError, match=message):
        plan_rows(*arguments, criterion_conf=CONF)


def test_the_plan_is_printed_as_lines_for_the_driver(config, capsys):
    study.main(["--study", "alpha", "--values", "0.008 0.8", "--asr_config", str(config), "--plan"])
    assert capsys.readouterr().out.splitlines() == [
        f"none none {config}",
        f"sld sld {config}",
        f"sld_alpha0.8 sld {config} --criterion_conf alpha=0.8",
    ]


def test_every_objective_has_its_configuration_and_the_controls_take_slds(tmp_path, capsys):
    for name in ("none", "sld"):
        (tmp_path / f"train_{name}.yaml").write_text("criterion_conf: {}\n")
    pattern = str(tmp_path / "train_{objective}.yaml")
    study.main(["--study", "table", "--values", "none sld matched", "--asr_config", pattern, "--plan"])
    configs = [Path(line.split()[2]).stem for line in capsys.readouterr().out.splitlines()]
    assert configs == ["train_none", "train_sld", "train_sld"]
    with pytest.raises(InputError, match=r"train_ce\.yaml: no such file"):
        study.main(["--study", "table", "--asr_config", pattern, "--plan"])


# -- the table ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_one_seed_is_called_a_statement_about_models_and_absent_runs_are_named(tmp_path, config, make_run):
    make_run(tmp_path, "none", 0, wrong=0.5, conf=CONF)
    make_run(tmp_path, "sld", 0, wrong=0.1, conf=CONF)
    text, values = report(tmp_path, config, "--study", "alpha")
    rows = {row["name"]: row["sets"]["dev"] for row in values["rows"]}
    line = next(line for line in text.splitlines() if line.startswith("| `sld` "))
    assert f"{rows['sld']['errors'][0]} of 200" in line and f"{rows['sld']['wer'][0]:.2f}" in line
    for name in ("sld_alpha0.0008", "sld_alpha0.08", "sld_alpha0.8"):
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert "not run" in line and not rows[name]["wer"]
    contrasts = {entry["first"]: entry for entry in values["contrasts"]}
    assert contrasts["sld"]["about"] == "models" and contrasts["sld"]["verdict"] == "better"
    assert contrasts["sld_alpha0.8"]["verdict"] == "not run: no shared seed"
    assert "not about the methods behind them" in text and "About methods" not in text
    assert "Models were chosen by valid.ce_text (min) on dev." in text
    assert "too good a forecast" in text


def test_several_seeds_make_a_statement_about_methods(tmp_path, config, make_run):
    for seed in range(3):
        make_run(tmp_path, "none", seed, wrong=0.4, conf=CONF)
        make_run(tmp_path, "sld", seed, wrong=0.1, conf=CONF)
    text, values = report(tmp_path, config, "--study", "alpha", "--values", "0.008")
    cell = values["rows"][1]["sets"]["dev"]
    assert f"{np.mean(cell['wer']):.2f} ± {np.std(cell['wer'], ddof=1):.2f}" in text
    assert f"{', '.join(map(str, cell['errors']))} of 200" in text
    assert values["contrasts"][0]["about"] == "methods"
    assert "About methods" in text and "About models" not in text and "another seed" not in text


def test_contrasts_are_those_of_the_significance_module(tmp_path, make_run):
    for seed in range(2):
        make_run(tmp_path, "none", seed, wrong=0.4)
        make_run(tmp_path, "sld", seed, wrong=0.2)
    make_run(tmp_path, "ce", 1, wrong=0.3)
    runs = read_runs(tmp_path, ["none", "sld", "ce"], ["dev"])
    drawn = {"resamples": 200, "seed": 3}
    entries = contrast_rows(runs, [("sld", "none"), ("sld", "ce")], "dev", margin=0.5, **drawn)
    words = runs.words["dev"]
    sld, none = (runs.errors(row, "dev", [0, 1]) for row in ("sld", "none"))
    assert entries[0]["difference"]["p"] == compare_methods(sld, none, words, **drawn).p
    sld, ce = (runs.errors(row, "dev", [1])[0] for row in ("sld", "ce"))
    assert entries[1]["difference"]["interval95"] == compare_models(sld, ce, words, **drawn).interval95
    assert entries[1]["seeds"] == [1] and entries[1]["about"] == "models"
    assert entries[0]["p_holm"] >= entries[0]["difference"]["p"]


def test_the_label_and_the_weight_of_the_kl_are_those_of_the_equation(tmp_path, config, make_run):
    """q′ of Eq. 5 in full, and λ = α·T·N_KL/B by hand."""
    pieces, alpha, temperature = 50, 0.008, 0.1
    make_run(tmp_path, "sld_temperature0.1", 0, wrong=0.1, conf={**CONF, "temperature": temperature})
    make_run(tmp_path, "none", 0, wrong=0.1, conf=CONF)
    stats = {"utterances": 10, "cut_tokens": 5, "speech": {"total": 1015}, "vocabulary": {"speech": pieces}}
    (tmp_path / "stats" / "train").mkdir(parents=True)
    (tmp_path / "stats" / "train" / "length_stats.json").write_text(json.dumps(stats))
    text, values = report(tmp_path, config, "--study", "temperature", "--values", "0.1")
    logits = (np.full(pieces, 0.1 / pieces) + np.eye(pieces)[0] * 0.9) / temperature
    extras = values["rows"][1]["extras"]
    assert extras["q′"] == pytest.approx(np.exp(logits[0]) / np.exp(logits).sum(), rel=1e-12)
    assert extras["λ"] == pytest.approx(alpha * temperature * (1015 - 5 - 10) / 10, rel=1e-12)
    assert values["rows"][0]["extras"] == {} and "q′: probability" in text


def test_a_sweep_without_any_run_asks_for_training(tmp_path, config):
    with pytest.raises(InputError, match="train and score them first"):
        report(tmp_path, config, "--study", "alpha")


@pytest.mark.slow
def test_sweep_is_drawn_as_png_and_as_svg_that_does_not_change(tmp_path, config, make_run):
    for row, wrong in (("none", 0.3), ("sld", 0.1), ("sld_alpha0.8", 0.4)):
        for seed in range(2):
            make_run(tmp_path, row, seed, wrong=wrong, sets=("dev_clean", "dev_other"), conf=CONF)
    options = ("--study", "alpha", "--sets", "dev_clean,dev_other")
    text, _ = report(tmp_path, config, *options)
    assert "](out.0.1.png)" in text
    first = (tmp_path / "out.0.1.svg").read_bytes()
    assert (tmp_path / "out.0.1.png").read_bytes().startswith(b"\x89PNG")
    report(tmp_path, config, *options)
    assert (tmp_path / "out.0.1.svg").read_bytes() == first and b"<svg" in first


# -- what a configuration says --------------------------------------------------------------------
def test_run_info_tells_masked_from_unmasked_dev_loss(tmp_path, make_run):
    plain = read_run_info(make_run(tmp_path, "sld", 0, wrong=0.1, sets=()))
    other = make_run(tmp_path, "sld_maskdev", 0, wrong=0.1, sets=(), masked=True, dev_set="dev_other")
    masked = read_run_info(other)
    assert (plain.dev_masked, masked.dev_masked) == (0.0, 0.3)
    assert masked.dev_set == "dev_other" and masked.chosen_by == "valid.ce_text (min) on dev_other"


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "not YAML"), ("- 1\n", "expected keys"), (None, "no such file")]
)
def test_a_damaged_configuration_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(InputError, match=f"config.yaml.*{message}"):
        read_run_info(tmp_path)
