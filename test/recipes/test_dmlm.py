"""The DMLM recipe: its commands, all stages on few recordings and images, resumption."""

import json
import re
import shutil

import pytest
import soundfile

TINY = "--max_epoch 2 --num_iters_per_epoch 8 --batch_bins 1500 --keep_nbest_models 1"
SMALL = "--backbone_conf hidden_size=32 --backbone_conf ffn_dim=64 --backbone_conf word_embed_proj_dim=32"
FEW = "--num_train_strings 60 --num_dev_strings 20 --num_test_strings 12"
TASKS = ("asr", "tts", "st", "caption")


@pytest.fixture(scope="module")
def dmlm_recipe(copy_recipe, repo_root):
    """Makes a copy of egs/<corpus>/dmlm, to be run with the given options before a test's own."""

    def make(corpus, options):
        recipe = copy_recipe(corpus, options)
        recipe.folder = recipe.folder.with_name("dmlm")
        outputs = re.compile("(data|dump|exp|downloads)(_.*)?")
        source = repo_root / "egs" / corpus / "dmlm"
        shutil.copytree(source, recipe.folder, ignore=lambda where, names: [
            name for name in names if str(where) == str(source) and outputs.fullmatch(name)
        ])  # fmt: skip
        return recipe

    return make


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


@pytest.mark.slow
def test_recordings_and_images_become_four_tasks_figures_and_a_second_call_makes_nothing_again(
    dmlm_recipe, few_digits
):
    digits = dmlm_recipe("fsdd", [
        *("--fsdd_dir", str(few_digits), "--nclusters", "40", "--unit_nbpe", "80", "--text_nbpe", "20"),
        *("--speed_perturb_factors", "", "--corpus_opts", FEW, "--test_sets", "test_strings"),
        *("--dmlm_args", f"{TINY} {SMALL}", "--vocoder_args", "--steps 20", "--tts_sets", "test_strings"),
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
    made = [*experiment.glob("*.pth"), *experiment.glob("*/*/text"), *wavs]
    made += [
        *digits.folder.glob("exp/vocoder/*/*.safetensors"),
        *digits.folder.glob("exp/asr_sld_listener/*.pth"),
    ]
    times = {path: path.stat().st_mtime_ns for path in made}
    digits.run("--stage", "6")
    assert {path: path.stat().st_mtime_ns for path in made} == times
