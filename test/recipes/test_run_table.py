"""run_table.sh: which runs it starts, what it chooses, that it resumes, and the table at its end."""

import json

import pytest

# Stands for run.sh: "trains" a run in no time, with a WER that depends on objective, seed and learning rate.
STAND_IN = """#!/usr/bin/env bash
set -euo pipefail
. ./path.sh
exec python3 ./stand_in.py "$@"
"""
STAND_IN_PROGRAM = """
import random, sys
from pathlib import Path
from espnet_sld.scoring.result import score_set

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open("calls.txt", "a") as calls:
    calls.write(" ".join(options.get(name, "-") for name in ("--stage", "--asr_tag", "--asr_config")) + "\\n")
if options["--stage"] == "1":
    sys.exit()
if Path("broken").exists() and options["--asr_tag"] == "sld_seed2":
    sys.exit("the disk is full")
row, seed, rate = options["--objective"], options["--seed"], options["--asr_args"].split("=")[1]
share = {"none": 0.5, "sld": 0.1}.get(row, 0.2) + (0.2 if rate == "0.001" else 0.0)
for name in options["--decode_sets"].split():
    out = Path(options["--expdir"], "asr_sld_" + options["--asr_tag"], "decode_greedy", name)
    out.mkdir(parents=True, exist_ok=True)
    draw = random.Random(f"{row} {seed}")
    heard = [" ".join("b" if draw.random() < share else "a" for _ in range(5)) for _ in range(40)]
    (out / "text").write_text("".join(f"u{n:02d} {words}\\n" for n, words in enumerate(heard)))
    (out / "ref").write_text("".join(f"u{n:02d} a a a a a\\n" for n in range(40)))
    score_set(out / "text", out / "ref", out, {"objective": row})
"""
OPTIONS = ["--rows", "none sld matched", "--other_rows", "kl", "--seeds", "1 2", "--other_seeds", "1"]
OPTIONS += ["--tune_lr", "0.001 0.002", "--asr_config", "conf/tiny.yaml"]


@pytest.fixture
def mini(copy_with_space):
    return copy_with_space("mini", "./run_table.sh")


@pytest.fixture
def quick(mini):
    """Its run.sh replaced by one that trains nothing."""
    (mini.folder / "run.sh").write_text(STAND_IN)
    (mini.folder / "stand_in.py").write_text(STAND_IN_PROGRAM)
    return mini


@pytest.mark.slow
def test_rows_are_tuned_alike_run_over_shared_seeds_and_contrasted_as_declared(quick):
    quick.run(*OPTIONS)
    calls = [line.split() for line in (quick.folder / "calls.txt").read_text().splitlines()]
    assert calls[0] == ["1", "-", "conf/tiny.yaml"]
    tuning = {
        f"tune_{row}_lr{rate}" for row in ("none", "sld", "matched", "kl") for rate in ("0.001", "0.002")
    }
    runs = {f"{row}_seed{seed}" for row in ("none", "sld", "matched") for seed in (1, 2)} | {"kl_seed1"}
    assert {call[1] for call in calls[1:9]} == tuning
    assert {call[1] for call in calls[9:]} == runs and len(calls) == 16
    chosen = json.loads((quick.folder / "exp/table/chosen.json").read_text())
    assert {row: choice["lr"] for row, choice in chosen.items()} == dict.fromkeys(
        ("none", "sld", "matched", "kl"), "0.002"
    )
    text = (quick.folder / "exp/table/TABLE.md").read_text()
    for contrast in ("sld – none", "sld – ce", "sld – matched"):
        assert contrast in text
    table = json.loads((quick.folder / "exp/table/TABLE.json").read_text())
    assert {row: cells["test"]["seeds"] for row, cells in table["rows"].items()} == {
        **{row: [1, 2] for row in ("none", "sld", "matched")},
        "kl": [1],
        "ce": [],
    }
    verdicts = {entry["second"]: entry["verdict"] for entry in table["contrasts"] if entry["set"] == "test"}
    assert verdicts["ce"] == "not tested: 0 shared seeds"


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_same_command_goes_on(quick):
    (quick.folder / "broken").touch()
    options = [*OPTIONS, "--tune_lr", "0.002"]
    failed = quick.run(*options, check=False)
    assert failed.returncode == 1
    assert "the disk is full" in failed.stderr
    assert "resume with the same command: ./run_table.sh --rows none\\ sld\\ matched" in failed.stderr
    assert not (quick.folder / "exp/table/TABLE.md").exists()
    others = quick.folder / "exp/table/asr_sld_matched_seed2"
    assert (others / "decode_greedy/test/result.json").exists()  # they went on
    (quick.folder / "broken").unlink()
    quick.run(*options)
    assert (quick.folder / "exp/table/TABLE.md").exists()


def test_a_dry_run_names_every_step_and_writes_nothing(mini):
    before = sorted(mini.folder.rglob("*"))
    done = mini.run("--dry_run", "true")
    for step in ("--stop_stage 6", "JOB=1:21", "choose_lr.py", "JOB=1:44", "espnet_sld.bin.table"):
        assert step in done.stdout
    assert sorted(mini.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--contrasts", "sld:nothing", "no objective 'nothing'"),
        ("--rows", "sdl", "no objective 'sdl'"),
        ("--tune_seed", "3", "also a seed of the table"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(mini, option, value, message):
    done = mini.run(option, value, "--dry_run", "true", check=False)
    assert done.returncode == 1 and message in done.stderr and not done.stdout


@pytest.mark.campaign
def test_a_tiny_table_is_trained_and_a_second_call_trains_nothing(mini):
    training = "\n".join(
        (
            "backbone_conf: {model_type: llama, hidden_size: 32, intermediate_size: 64,",
            "  num_hidden_layers: 2, num_attention_heads: 4, tie_word_embeddings: true}",
            "criterion: speech_text",
            "batch_bins: 1500",
            "num_iters_per_epoch: 8",
            "max_epoch: 2",
            "optim: adamw",
            "best_model_criterion:",
            "- [valid, ce_text, min]",
            "keep_nbest_models: 1\n",
        )
    )
    (mini.folder / "conf" / "tiny.yaml").write_text(training)
    sizes = "--num_train 80 --num_dev 10 --num_test 20 --num_test_voices 10"
    options = ["--rows", "none sld matched", "--other_rows", "", "--seeds", "1 2", "--tune_lr", "0.002"]
    options += ["--asr_config", "conf/tiny.yaml", "--corpus_opts", sizes]
    mini.run(*options)
    table = (mini.folder / "exp/table/TABLE.md").read_text()
    assert "sld – matched" in table
    models = {path: path.stat().st_mtime_ns for path in mini.folder.glob("exp/table/asr_sld_*/*.pth")}
    mini.run(*options)
    assert {path: path.stat().st_mtime_ns for path in mini.folder.glob("exp/table/asr_sld_*/*.pth")} == models
    assert (mini.folder / "exp/table/TABLE.md").read_text() == table
