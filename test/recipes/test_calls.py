"""What stands on a command line is taken, or refused: words without their --, lists without their quotes."""

import shlex
import subprocess

import pytest

DRIVERS = [("mini", "asr_sld"), ("mini", "ctc_kd"), ("fsdd", "dmlm"), ("mini", "asr2_espnet")]


@pytest.mark.parametrize(("corpus", "system"), DRIVERS)
def test_a_word_that_is_no_option_is_refused_with_all_that_follows(copy_recipe, corpus, system):
    recipe = copy_recipe(corpus, ["--dry_run", "true"], system)
    done = recipe.run("--stage", "9", "-stop_stage", "9", check=False)
    assert done.returncode == 1 and "unexpected argument: -stop_stage 9" in done.stderr and not done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "system"), DRIVERS)
def test_trainings_that_would_share_gpus_are_refused(copy_recipe, monkeypatch, corpus, system):
    recipe = copy_recipe(corpus, ["--dry_run", "true", "--stage", "99"], system)
    monkeypatch.setenv("trainings_at_once", "2")
    refused = recipe.run("--ngpu", "1", check=False)
    assert refused.returncode == 1 and "--jobs 2 with --ngpu 1" in refused.stderr
    assert recipe.run("--ngpu", "0").returncode == 0
    monkeypatch.setenv("cmd_backend", "slurm")
    assert recipe.run("--ngpu", "1").returncode == 0


@pytest.mark.slow
def test_a_study_whose_seeds_lack_their_quotes_starts_nothing(copy_with_space):
    recipe = copy_with_space("mini", "./run_studies.sh")
    done = recipe.run("--study", "alpha", "--seeds", "0", "1", "2", check=False)
    assert done.returncode == 1 and "unexpected argument: 1 2" in done.stderr
    assert not (recipe.folder / "data").exists() and not (recipe.folder / "exp").exists()
    shared = recipe.run("--jobs", "2", "--", "--ngpu", "1", check=False)
    assert shared.returncode == 1 and "--jobs 2 with --ngpu 1" in shared.stderr


def test_what_follows_the_dashes_of_run_table_goes_to_run_sh(copy_with_space):
    recipe = copy_with_space("mini", "./run_table.sh")
    shown = recipe.run("--dry_run", "true", "--", "--nj", "7").stdout
    assert sum("--nj 7" in line for line in shown.splitlines()) == 3


@pytest.mark.slow
def test_librispeechs_studies_take_every_way_to_write_an_option(copy_with_space):
    recipe = copy_with_space("librispeech", "./run_studies.sh")
    rate = ["--asr_args", "--optim_conf lr=1"]
    plain = recipe.run("--study", "table", "--dry_run", "true", *rate).stdout
    assert plain.count("JOB=1:5") == 2 and "paper_table" not in plain
    for options in (["--study=table", "--dry_run"], ["--dry_run=true", "--study", "table"]):
        assert recipe.run(*options, *rate).stdout == plain
    assert not (recipe.folder / "exp").exists()


def test_a_listed_run_keeps_every_word(repo_root, tmp_path):
    words = ["--a", "--init_param /home/jürgen/m.pth", 'it\'s "q" \\ & x', "two  spaces", "", "a\nb", ""]
    template = repo_root / "egs" / "TEMPLATE"
    script = '. "$0/runs.sh"; add_run "$@"; printf "%s\\n" "${lines[@]}" > runs.txt'
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-c", script, template, *words], cwd=tmp_path, env=environment, check=True)
    printing = [template / "listed_run.sh", "runs.txt", "1", "printf", "<%s>"]
    done = subprocess.run(printing, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"<{word}>" for word in words).replace("\n", " ")
    (tmp_path / "runs.txt").write_text("--a 'b\n")
    assert subprocess.run(printing, cwd=tmp_path, env=environment, capture_output=True).returncode


@pytest.mark.slow
def test_what_works_on_one_gpu_asks_for_one(copy_recipe):
    options = ["--dry_run", "true", "--ngpu", "4"]
    for system in ("discrete_asr", "lm_multitask"):  # ESPnet refuses to decode on several
        decoding = copy_recipe("mini", [*options, "--stage", "8", "--stop_stage", "8"], "asr2_espnet")
        commands = [
            line for line in decoding.run("--system", system).stdout.splitlines() if "_inference" in line
        ]
        assert commands and all("--gpu 1 " in line and "--ngpu 1 " in line for line in commands)
    shown = copy_recipe("fsdd", [*options, "--stage", "7", "--stop_stage", "7"], "dmlm").run().stdout
    assert "--gpu 1 " in shown and "train_vocoder" in shown


def test_words_of_an_option_keep_quotes_and_empty_ones(repo_root):
    script = (
        'MAIN_ROOT=$0; . "$0/egs/TEMPLATE/common.sh"; split_words w "$1"; printf "<%s>" "${#w[@]}" "${w[@]}"'
    )

    def split(text: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", "-c", script, repo_root, text], capture_output=True, text=True)

    for text in ("a  b", "--x 'b c' \"\"", "''"):
        words = shlex.split(text)
        assert split(text).stdout == "".join(f"<{word}>" for word in (len(words), *words))
    assert split("").stdout == "<0>"
    assert split("a 'b").returncode == 1 and "quotes do not match" in split("a 'b").stderr


@pytest.mark.slow
def test_espnets_training_with_other_inputs_is_not_gone_on_with(copy_recipe):
    recipe = copy_recipe("mini", ["--stage", "7", "--stop_stage", "7"], "asr2_espnet")
    (recipe.folder / "cmd.sh").write_text("cmd_backend=local train_cmd=true cuda_cmd=true decode_cmd=true\n")
    for name in ("train", "dev"):
        folder = recipe.folder / "dump" / "raw" / name
        folder.mkdir(parents=True)
        for file in ("text.rm.mfcc_km200", "text.ts.en"):
            (folder / file).write_text("a x\n")
    recipe.run()
    (experiment,) = recipe.folder.glob("exp/espnet_*")
    (experiment / "config.yaml").touch()  # as ESPnet leaves it
    recipe.run()
    longer = ["--asr2_args", "--max_epoch 9"]
    refused = recipe.run(*longer, check=False)
    assert refused.returncode == 1 and "with other options or data; give --asr2_tag" in refused.stderr
    recipe.run(*longer, "--asr2_tag", "longer")
    (recipe.folder / "dump/raw/train/text.rm.mfcc_km200").write_text("a y\n")
    assert "with other options or data" in recipe.run(check=False).stderr
