"""The LibriSpeech recipe's options and configurations: the paper's setting, and what follows from what."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROWS = ("none", "ce", "label_smoothing", "kl", "sld")
FRONT_ENDS = ("wavlm", "hubert")


@pytest.fixture(scope="module")
def recipe(copy_recipe) -> Path:
    return copy_recipe("librispeech", []).folder


def dry_run(recipe: Path, *options: str, script: str = "./run.sh") -> subprocess.CompletedProcess:
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    command = [script, "--dry_run", "true", *options]
    return subprocess.run(command, cwd=recipe, env=environment, capture_output=True, text=True)


def commands(recipe: Path, *options: str, script: str = "./run.sh") -> dict[str, list[list[str]]]:
    """Module or script → the commands that a dry run shows."""
    done = dry_run(recipe, *options, script=script)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[str]]] = {}
    for line in done.stdout.splitlines():
        name = re.search(r"-m espnet_sld\.bin\.(\w+)|(local/data\.sh)", line)
        found.setdefault(name[1] or name[2], []).append(shlex.split(line.removeprefix("+ ")))
    return found


def value(command: list[str], option: str) -> str:
    return command[len(command) - command[::-1].index(option)]  # the last one counts


def test_how_audio_is_read_is_told_to_every_command_that_reads_it(recipe):
    options = ("--channels", "mean", "--allow_pipes", "true", "--speed_perturb_factors", "0.9 1.0 1.1")
    found = commands(recipe, *options)
    for name in ("fit_kmeans", "extract_units"):
        assert {value(command, "--channels") for command in found[name]} == {"mean"}
    for name in ("data_dir", "speed_perturb", "fit_kmeans", "extract_units"):
        assert {value(command, "--allow_pipes") for command in found[name]} == {"true"}


def test_by_default_it_is_the_papers_system(recipe):
    found = commands(recipe)
    options = dict(zip(*[iter(found["local/data.sh"][0][3:])] * 2, strict=True))
    assert options["--train_parts"] == "train-clean-100 train-clean-360 train-other-500"
    assert options["--train_set"] == "train_960" and options["--dev_set"] == "dev"
    assert options["--dev_parts"] == "dev-clean dev-other" and options["--case"] == "lower"
    (kmeans,) = found["fit_kmeans"]
    assert value(kmeans, "--frontend") == "wavlm_large/23" and "backend=s3prl" in kmeans
    assert (value(kmeans, "--num_clusters"), value(kmeans, "--hours")) == ("2000", "100")
    assert value(kmeans, "--data_dir").endswith("org/train_960")  # not speed-perturbed
    assert value(found["speed_perturb"][0], "--factors") == "0.9 1.0 1.1"
    units = found["train_subword"][0]
    assert (value(units, "--model_type"), value(units, "--vocab_size")) == ("unigram", "6000")
    assert "text.ts.wavlm_large_23_km2000" in value(units, "--input") and "train_960_sp" in value(
        units, "--input"
    )
    (train,) = found["train"]
    assert value(train, "--config") == "conf/train_sld_wavlm.yaml"
    assert (
        value(train, "--text_token_path")
        == value(train, "--backbone_source")
        == "openai-community/gpt2-medium"
    )
    assert (value(train, "--max_positions"), value(train, "--max_text")) == ("1024", "150")
    decoded = [value(command, "--out_dir").rpartition("/")[2] for command in found["decode"]]
    assert decoded == ["dev_clean", "dev_other", "test_clean", "test_other"]
    assert value(found["decode"][0], "--config") == "conf/decode_greedy.yaml"


@pytest.mark.parametrize(
    ("feature", "objective", "config"),
    [
        ("hubert_large_ll60k/23", "ce", "train_ce_hubert"),
        ("models/hubert_mine.pt/9", "kl", "train_kl_hubert"),
        ("wavlm_large/21", "none", "train_none_wavlm"),
        ("mfcc", "matched", "train_sld_wavlm"),
    ],
)
def test_the_configuration_follows_from_objective_and_front_end(recipe, feature, objective, config):
    shown = dry_run(recipe, "--kmeans_feature", feature, "--objective", objective, "--stage", "7").stdout
    assert f"--config conf/{config}.yaml" in shown
    assert (recipe / "conf" / f"{config}.yaml").exists()


def test_machines_and_gpus_change_no_option_of_the_batches(recipe):
    layouts = (["--ngpu", "0"], ["--ngpu", "2"], ["--ngpu", "8", "--num_nodes", "2"])
    found = [commands(recipe, *options, "--stage", "7")["train"][0] for options in layouts]
    assert [value(train, "--ngpu") for train in found] == ["0", "2", "8"]
    assert all("--accum_grad" not in train and "--batch_bins" not in train for train in found)
    assert found[2].count("--num_nodes") == 2 and "--num_nodes" not in found[1]  # of the job and of training


def test_gpus_compute_features_one_a_job(recipe):
    found = commands(recipe, "--ngpu", "4", "--stage", "3", "--stop_stage", "8")
    for command in (*found["fit_kmeans"], *found["extract_units"], *found["decode"]):
        assert value(command, "--gpu") == "1"
    assert {value(command, "--device") for command in found["extract_units"]} == {"cuda"}
    found = commands(recipe, "--ngpu", "4", "--kmeans_feature", "mfcc", "--stage", "3", "--stop_stage", "4")
    assert value(found["fit_kmeans"][0], "--device") == "cpu" and "--gpu" not in found["fit_kmeans"][0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--variant", "librispeech_100"], "train_clean_100 dev data_librispeech_100 dump_librispeech_100"),
        (["--train_parts", "train-clean-100, train-clean-360"], "train_460 dev data dump"),
        (["--train_parts", "train-clean-360"], "train_clean_360 dev data dump"),
        (["--dev_parts", "dev-other", "--dev_last", "1215"], "train_960 dev_other_last1215 data dump"),
        (["--train_set", "mine", "--dev_set", "held_out"], "mine held_out data dump"),
        (["--variant", "librispeech_100", "--datadir", "d", "--dumpdir", "e"], "train_clean_100 dev d e"),
    ],
)  # fmt: skip
def test_sets_are_named_after_their_parts(recipe, options, expected):
    train_set, dev_set, data, dump = expected.split()
    found = commands(recipe, *options, "--stop_stage", "6")
    (corpus,) = found["local/data.sh"]
    assert value(corpus, "--data_dir") == data and value(corpus, "--train_set") == train_set
    assert (
        value(corpus, "--dev_set") + (f"_last{value(corpus, '--dev_last')}" if "--dev_last" in corpus else "")
        == dev_set
    )
    combined = [command[4:6] for command in found["data_dir"]]
    assert [f"{dump}/raw/org/{train_set}", f"{data}/{train_set}"] in combined
    assert [f"{dump}/raw/org/{dev_set}", f"{data}/{dev_set}"] in combined
    shapes = [value(command, "--speech_text") for command in found["collect_shapes"]]
    assert shapes[0].startswith(f"{dump}/raw/{train_set}_sp/") and shapes[1].startswith(
        f"{dump}/raw/{dev_set}/"
    )


def test_a_dev_set_of_its_own_is_decoded_too(recipe):
    found = commands(
        recipe, "--dev_parts", "dev-other", "--test_parts", "test-clean dev-other", "--stage", "8"
    )
    decoded = [value(command, "--out_dir").rpartition("/")[2] for command in found["decode"]]
    assert decoded == ["dev_other", "test_clean"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "librispeech_10"], "must be librispeech_960 or librispeech_100"),
        (["--train_parts", " "], "names no part"),
        (["--librispeech_dir", "it's here"], "quotes do not match"),
        (["--backbone", ""], "--text_token_type hf needs --text_tokenizer"),
    ],
)
def test_a_wrong_option_is_one_clear_message(recipe, options, message):
    done = dry_run(recipe, *options)
    assert done.returncode == 1 and message in done.stderr and "local/data.sh" not in done.stdout


@pytest.mark.parametrize(
    ("feature", "tag", "extracted"),
    [
        ("wavlm_large/21", "wavlm_large_21", "wavlm_large/layer21"),
        ("./models/wavlm_tiny.pt/3", "wavlm_tiny_3", "wavlm_tiny/layer3"),
        ("/data/hubert-base-ls960//12", "hubert-base-ls960_12", "hubert-base-ls960/layer12"),
        ("model.v2.ckpt/7", "model.v2_7", "model.v2/layer7"),
    ],
)
def test_a_path_is_named_by_its_last_part(recipe, feature, tag, extracted):
    found = commands(recipe, "--kmeans_feature", feature, "--stage", "3", "--stop_stage", "4")
    assert value(found["fit_kmeans"][0], "--out_dir") == f"exp/kmeans/{tag}_2000clusters"
    assert value(found["extract_units"][0], "--out_dir") == f"dump/extracted/{extracted}/train_960_sp"
    assert value(found["gather_units"][0], "--suffix") == f"{tag}_km2000"
    from espnet_sld.units.frontends.base import file_name

    model, _, layer = feature.rpartition("/")
    assert file_name(model, int(layer)) == tag


def test_help_lists_the_recipes_options_first(recipe):
    done = subprocess.run(["./run.sh", "--help"], cwd=recipe, capture_output=True, text=True)
    words = re.findall(r"^  --(\w+)", done.stdout, re.M)
    assert words[0] == "librispeech_dir" and {"variant", "frontend_backend", "backbone"} <= set(words)
    assert len(words) == len(set(words))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_rows_differ_in_their_objective_alone(repo_root, front_end):
    folder = repo_root / "egs/librispeech/asr_sld/conf"
    rows = {row: yaml.safe_load((folder / f"train_{row}_{front_end}.yaml").read_text()) for row in ROWS}
    for row, conf in rows.items():
        objective = conf.pop("criterion_conf")
        assert objective.pop("objective") == row
        published = {"alpha": 0.008, "epsilon": 0.1, "temperature": 1.0}
        assert objective.items() <= published.items()
        assert set(objective) == {"none": set(), "ce": set(), "label_smoothing": {"epsilon"}}.get(
            row, set(published)
        )
    assert all(conf == rows["sld"] for conf in rows.values())
    conf = rows["sld"]
    assert conf["optim"] == "adamw" and conf["optim_conf"] == {"lr": 3e-4, "weight_decay": 0.0}
    assert (conf["scheduler"], conf.get("scheduler_conf"), conf["grad_clip"]) == ("linear_decay", None, 0.0)
    assert (conf["max_epoch"], conf["dropout"], conf["time_mask_prob"]) == (10, 0.1, 0.3)
    assert 64 * 345 < conf["batch_bins"] * conf["accum_grad"] < 64 * 345 * 1.03  # 64 utterances and padding
    assert conf["use_amp"] is True and conf["backbone_source"] == "openai-community/gpt2-medium"


def every_configuration() -> list[Path]:
    folder = Path(__file__).resolve().parents[2] / "egs/librispeech/asr_sld/conf"
    return sorted([*folder.glob("train_*.yaml"), *folder.glob("tuning/train_*.yaml")])


@pytest.mark.parametrize("path", every_configuration(), ids=lambda path: path.stem)
def test_every_training_configuration_is_accepted_and_builds_its_loss(path):
    from espnet_sld.bin.train import load_task

    task = load_task()
    import torch

    from espnet_sld.tasks.command_line import check_options, parse_options
    from espnet_sld.tokens.vocabulary import Vocabulary

    data = [(f"--{mode}_data_path_and_name_and_type", f"x,{name},text")
            for mode in ("train", "valid") for name in ("speech", "text")]  # fmt: skip
    options = ["--output_dir", "out", *(word for pair in data for word in pair)]
    args = parse_options(task.get_parser(), ["--config", str(path), *options])
    check_options(args, task.required_data_names())
    args.vocabulary = Vocabulary(text=50257, speech=6000).as_dict()
    criterion = task.build_criterion(args)
    assert criterion.weights["ce_text"] == 1.0
    optimizers = task.build_optimizers(args, torch.nn.Linear(2, 2))
    assert len(optimizers) == 1


@pytest.mark.parametrize(("name", "low", "high"), [("modern", 320, 360), ("modern_small", 40, 90)])
def test_the_modern_backbones_have_their_stated_sizes(repo_root, name, low, high):
    import torch

    from espnet_sld.models.backbone import build_backbone

    path = repo_root / f"egs/librispeech/asr_sld/conf/tuning/train_{name}.yaml"
    conf = yaml.safe_load(path.read_text())
    with torch.device("meta"):
        model = build_backbone(None, conf["backbone_conf"], 5000 + 2 + 6000, max_positions=1024, dropout=0.1)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert low < millions < high
    stated = int(re.search(r"about (\d+) M parameters", path.read_text())[1])
    assert abs(millions - stated) < 0.05 * stated


def test_the_modern_variant_is_what_its_configuration_says(recipe):
    found = commands(recipe, script="./run_modern.sh")
    (train,) = found["train"]
    assert value(train, "--config") == "conf/tuning/train_modern.yaml" and "--backbone_source" not in train
    assert value(train, "--speech_token_type") == "bpe"  # which speech_bpe_dropout needs
    assert "text.rm.wavlm_large_21_km2000" in value(found["train_subword"][0], "--input")
    assert value(train, "--text_token_path").endswith("tgt_bpe_bpe5000_ts_en/bpe.model")
