"""run_ablations.sh: what it refuses, which steps it has, and a tiny table that resumes."""

import json
import shlex
import subprocess

import pytest

FEW = "--num_train_strings 60 --num_dev_strings 20 --num_test_strings 12"
TINY = "--max_epoch 1 --num_iters_per_epoch 8 --keep_nbest_models 1 --backbone_conf hidden_size=32"


@pytest.fixture
def ablations(copy_recipe):
    """Makes a copy of egs/fsdd/dmlm that runs run_ablations.sh."""

    def make(*options):
        recipe = copy_recipe("fsdd", list(options), "dmlm")
        recipe.script = "./run_ablations.sh"
        return recipe

    return make


@pytest.mark.slow
def test_a_dry_table_names_every_step_and_writes_nothing(ablations):
    recipe = ablations("--dry_run", "true", "--rows", "base text_first asr_alone", "--seeds", "0 1")
    before = sorted(recipe.folder.rglob("*"))
    shown = recipe.run("--", "--fsdd_dir", "corpus").stdout
    assert "--stop_stage 6" in shown and shown.count("--stop_stage 9") == 3
    assert "JOB=1:6" in shown and "listed_run.sh" in shown and "bin.dmlm_table" in shown
    assert "--pretrain_mixture conf/pretrain_ablations.yaml" in shown
    assert shown.count("--fsdd_dir corpus") == 5
    assert sorted(recipe.folder.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "--pretrain_args",
            "--pretrain_arks",
            "row 'text_first': error: dmlm.sh: no such option: --pretrain_ar",
        ),
        ("- name: text_first", "- name: base", "row 'base' comes twice"),
    ],
)
def test_a_wrong_row_is_refused_before_anything_runs(ablations, old, new, message):
    recipe = ablations("--first_stage", "7")
    rows = recipe.folder / "conf" / "ablations.yaml"
    assert rows.read_text().count(old) == 1
    rows.write_text(rows.read_text().replace(old, new))
    done = recipe.run(check=False)
    assert done.returncode == 1 and message in done.stderr and not done.stdout
    assert not (recipe.folder / "exp").exists()


def test_a_listed_run_gets_the_options_of_its_line_alone_empty_ones_too(repo_root, tmp_path):
    options = [["--a", "b c", "--d", "it's", "--e", ""], ["--x", "1"]]
    listed = tmp_path / "runs.txt"
    listed.write_text("".join(shlex.join(words) + "\n" for words in options))
    script = repo_root / "egs" / "TEMPLATE" / "listed_run.sh"
    for number, words in enumerate(options, 1):
        command = [script, listed, str(number), "printf", "<%s>", "--first"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "".join(f"<{word}>" for word in ["--first", *words])


@pytest.mark.campaign
def test_a_tiny_table_is_trained_and_a_second_call_trains_nothing(ablations, few_digits):
    recipe = ablations("--rows", "base caption_alone", "--seeds", "0 1")
    rows = recipe.folder / "conf" / "ablations.yaml"
    text = (
        rows.read_text()
        .replace('--dmlm_args ""', f'--dmlm_args "{TINY}"')
        .replace("--nclusters 100", "--nclusters 40")
    )
    rows.write_text(text.replace("--num_iters_per_epoch 410", TINY).replace("--per_digit 5", "--per_digit 1"))
    options = ["--fsdd_dir", str(few_digits), "--corpus_opts", FEW, "--speed_perturb_factors", ""]
    files = [f"--{name} dump/raw/dev/{file}".split() for name, file in
             (("speech", "text.rm.mfcc_km40"), ("text", "text.ts.en"))]  # fmt: skip
    recipe.run(*files[0], *files[1], "--", *options)
    out = recipe.folder / "exp" / "ablations"
    table = json.loads((out / "TABLE.json").read_text())
    base, alone = table["rows"]["base"], table["rows"]["caption_alone"]
    for name in ("test_isolated", "voices"):
        assert base["figures"]["asr"][name]["wer"]["seeds"] == [0, 1]
    assert base["losses"]["speech"]["seeds"] == [0, 1] and 0 < base["losses"]["speech"]["mean"] < 10
    assert alone["figures"]["asr"] == {} and alone["losses"] == {}
    assert alone["figures"]["caption"]["test_digits"]["class_accuracy"]["seeds"] == [0, 1]
    assert [entry["first"] for entry in table["contrasts"]] == ["caption_alone"]
    made = {path: path.stat().st_mtime_ns for path in recipe.folder.glob("exp/dmlm_ablations_*/**/*.pth")}
    page = (out / "TABLE.md").read_text()
    recipe.run(*files[0], *files[1], "--", *options)
    assert len(made) > 4 and (out / "TABLE.md").read_text() == page
    assert {
        path: path.stat().st_mtime_ns for path in recipe.folder.glob("exp/dmlm_ablations_*/**/*.pth")
    } == made
