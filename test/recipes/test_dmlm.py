"""The DMLM recipe: its commands, all stages on few recordings and images, resumption."""

import json
import re
from functools import partial

import pytest
import soundfile

from espnet_sld.tasks.mixture_file import read_mixture

FEW = "--num_train_strings 60 --num_dev_strings 20 --num_test_strings 12"
TASKS = ("asr", "tts", "st", "caption")


@pytest.fixture(scope="module")
def dmlm_recipe(copy_recipe):
    """Makes a copy of egs/<corpus>/dmlm, to be run with the given options before a test's own."""
    return partial(copy_recipe, system="dmlm")


def test_every_task_is_generated_and_scored_by_its_own_figure(dmlm_recipe):
    dry = dmlm_recipe("fsdd", ["--fsdd_dir", "corpus", "--dry_run", "true"])
    before = sorted(dry.folder.rglob("*"))
    shown = dry.run("--stage", "6").stdout
    for task in TASKS:
        command = "bin.generate --exp_dir exp/dmlm_ts_unit_mfcc_km300_seed0 --checkpoint valid.loss.ave.pth"
        assert f"{command} --task {task} " in shown
    for module in ("score_bleu", "score_caption", "score_speech", "listen", "dmlm_results", "train_vocoder"):
        assert f"espnet_sld.bin.{module} " in shown
    assert "exp/packed/asr_sld_listener" in shown and "--num_image_tokens 64" in shown
    assert sorted(dry.folder.rglob("*")) == before


def test_tasks_that_are_not_wanted_need_nothing(dmlm_recipe):
    dry = dmlm_recipe("fsdd", ["--fsdd_dir", "corpus", "--dry_run", "true"])
    shown = dry.run(
        "--stage", "6", "--images", "", "--tts_sets", "none", "--st_sets", "none", "--asr_sets", "dev"
    ).stdout
    for piece in (
        "image",
        "vocoder",
        "listener",
        "--task tts",
        "--task st",
        "--task caption",
        "test_strings/asr",
    ):
        assert piece not in shown.replace("image_tokens 64", "")
    assert "--task asr" in shown


def test_a_hifigan_speaks_what_the_vocoder_was_trained_for(dmlm_recipe):
    dry = dmlm_recipe("fsdd", ["--dry_run", "true", "--hifigan", "models/my gan", "--listener_config", ""])
    shown = dry.run("--stage", "7").stdout.splitlines()
    commands = [line for line in shown if "bin.train_vocoder" in line or "bin.synthesise" in line]
    assert len(commands) == 3 and all("--hifigan models/my\\ gan" in line for line in commands)


@pytest.mark.slow
def test_a_folder_with_a_space_reaches_the_corpus_whole_and_its_option_is_in_the_help(dmlm_recipe):
    dry = dmlm_recipe("fsdd", ["--fsdd_dir", "my corpus", "--dry_run", "true"])
    shown = dry.run("--stop_stage", "1", "--corpus_opts", "--num_train_strings 3").stdout
    assert "--fsdd_dir my\\ corpus --num_train_strings 3" in shown
    assert "--fsdd_dir" in dry.run("--help").stdout


def test_image_tokens_from_elsewhere_have_a_codebook_of_their_own(dmlm_recipe):
    dry = dmlm_recipe("librispeech", ["--dry_run", "true", "--stage", "9"])
    assert "num_image_tokens" not in dry.run().stdout
    shown = dry.run("--num_image_tokens", "8192", "--caption_sets", "coco_test").stdout
    both = [line for line in shown.splitlines() if "bin.collect_mixture" in line or "bin.train " in line]
    assert len(both) == 2 and all("--num_image_tokens 8192" in line for line in both)
    assert "--source dump/raw/coco_test/image_tokens" in shown


@pytest.mark.slow
def test_the_listener_has_stage_numbers_of_its_own(dmlm_recipe):
    recipe = dmlm_recipe("fsdd", ["--stage", "8", "--stop_stage", "8"])
    shown = recipe.run("--dry_run", "true", "--skip_stages", "7").stdout
    assert "espnet_sld.bin.train " in shown
    (recipe.folder / "cmd.sh").write_text("train_cmd=false cuda_cmd=false decode_cmd=false\n")
    failed = recipe.run(check=False)
    assert failed.returncode == 1
    assert re.findall(r"resume with: ./run.sh --stage (\d+)", failed.stderr) == ["8", "8"]


@pytest.mark.slow
def test_an_edited_mixture_is_taken_by_the_training_and_kept_with_it(dmlm_recipe):
    recipe = dmlm_recipe("fsdd", ["--dumpdir", r"du&m|p\1", "--asr_sets", "none", "--stop_stage", "10"])
    (recipe.folder / "cmd.sh").write_text("train_cmd=true cuda_cmd=true decode_cmd=true\n")
    mixture = recipe.folder / "conf" / "mixture.yaml"
    old, new = "weight: 0.6", "weight: 0.25"
    assert mixture.read_text().count(old) == 1
    written = []
    for stage in ("9", "10"):
        recipe.run("--stage", stage)
        (chosen,) = recipe.folder.glob("exp/dmlm_stats_mixture_*/mixture.yaml")
        (kept,) = recipe.folder.glob("exp/dmlm_ts_*/mixture.yaml")
        assert kept.read_text() == chosen.read_text()
        written.append(kept.read_text())
        mixture.write_text(mixture.read_text().replace(old, new))
    assert r'speech: "du&m|p\1/raw/train_sp/text.ts.mfcc_km300"' in written[0] and "@" not in written[0]
    assert written[1] == written[0].replace(old, new) != written[0]


def test_the_model_starts_from_a_training_on_another_mixture_where_one_is_named(dmlm_recipe):
    dry = dmlm_recipe("fsdd", ["--dry_run", "true", "--stage", "9", "--stop_stage", "10"])
    options = ["--pretrain_mixture", "conf/first.yaml", "--pretrain_args", "--batch_bins 700"]
    shown = dry.run(*options, "--dmlm_args", "--max_epoch 3").stdout.splitlines()
    first, then = (line for line in shown if "bin.train " in line)
    folder = "exp/dmlm_ts_unit_mfcc_km300_seed0"
    assert f"--config conf/train.yaml --output_dir {folder}/pretrained " in first
    assert "init_param" not in first
    assert "--batch_bins 700 --max_epoch 3" in first and "--batch_bins" not in then
    assert "/dmlm_stats_first_" in first and "/dmlm_stats_mixture_" in then
    assert f"--init_param {folder}/pretrained/valid.loss.ave.pth:model:model" in then
    assert all("--max_epoch 3" in line for line in (first, then))
    assert sum("bin.collect_mixture" in line for line in shown) == 2
    alone = dry.run("--pretrain_mixture", "").stdout
    assert alone.count("bin.train ") == 1 and "init_param" not in alone


def test_both_mixtures_of_the_recipe_give_the_same_tokens(repo_root):
    conf = repo_root / "egs" / "fsdd" / "dmlm" / "conf"
    mixtures = [read_mixture(conf / name) for name in ("mixture.yaml", "pretrain_mixture.yaml")]
    assert mixtures[0].specials == mixtures[1].specials


@pytest.mark.campaign
def test_recordings_and_images_become_four_tasks_figures_and_a_second_call_makes_nothing_again(
    dmlm_recipe, few_digits, tiny_training
):
    digits = dmlm_recipe("fsdd", [
        *("--fsdd_dir", str(few_digits), "--nclusters", "40", "--unit_nbpe", "80", "--text_nbpe", "20"),
        *("--speed_perturb_factors", "", "--corpus_opts", FEW, "--test_sets", "test_strings"),
        *("--dmlm_args", f"{tiny_training} --batch_bins 1500", "--vocoder_args", "--steps 20"),
        *("--tts_sets", "test_strings"),
        *("--asr_sets", "test_strings", "--caption_sets", "test_digits", "--image_codes", "16"),
    ])  # fmt: skip
    listener = digits.folder / "conf" / "listener.yaml"
    short = re.sub(r"max_epoch: \d+", "max_epoch: 1", listener.read_text())
    listener.write_text(re.sub(r"num_iters_per_epoch: \d+", "num_iters_per_epoch: 8", short))
    done = digits.run()
    (experiment,) = digits.folder.glob("exp/dmlm_ts_*")
    results = {task: json.loads(next(experiment.glob(f"{task}/*/result.json")).read_text()) for task in TASKS}
    assert results["asr"]["utterances"] == results["tts"]["utterances"] == 12
    assert results["st"]["bleu"] >= 0 and results["caption"]["cider"] >= 0 and results["tts"]["mcd_db"] > 0
    assert 0 <= results["caption"]["class_accuracy"] <= 100 and results["caption"]["utterances"] == 400
    wavs = list(experiment.glob("tts/test_strings/speech/wavs/*.wav"))
    assert len(wavs) == 12 and {soundfile.info(wav).samplerate for wav in wavs} == {16000}
    table = (experiment / "RESULTS.md").read_text()
    assert all(f"| {task}" in table for task in TASKS) and "| caption" in done.stdout
    assert (experiment / "report.html").exists()
    made = [*experiment.glob("*.pth"), *wavs]
    made += [
        *experiment.glob("*/*/scores"),
        *experiment.glob("tts/*/heard"),
        *digits.folder.glob("exp/vocoder/*/*.safetensors"),
        *digits.folder.glob("exp/asr_sld_listener/*.pth"),
    ]
    times = {path: path.stat().st_mtime_ns for path in made}
    digits.run("--stage", "6")
    assert {path: path.stat().st_mtime_ns for path in made} == times
