"""The report's parts: intervals, alignments, what the stage and the command offer, the default options."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from espnet_sld.bin import attention, report
from espnet_sld.scoring.curves import Curve
from espnet_sld.scoring.report.alignment import steps
from espnet_sld.scoring.report.curves_section import curves_section
from espnet_sld.scoring.report.experiment import Experiment, read_experiment
from espnet_sld.scoring.report.intervals import rate_intervals
from espnet_sld.scoring.report.parts import LAMBDAS, SPEECH_PARTS, weights
from espnet_sld.scoring.report.payload import list_systems, set_payload, set_tables
from espnet_sld.scoring.result import score_set
from espnet_sld.scoring.significance import compare_models


def test_intervals_are_those_of_a_comparison_with_no_errors():
    generator = np.random.default_rng(0)
    words = generator.integers(0, 9, 70)
    errors = np.stack([generator.binomial(words, 0.3), generator.binomial(words, 0.05)])
    found = rate_intervals(errors, words, resamples=2000, seed=3)
    for row, interval in zip(errors, found, strict=True):
        expected = compare_models(row, np.zeros_like(row), words, resamples=2000, seed=3)
        assert interval == pytest.approx(expected.interval95, abs=1e-4)


def test_an_alignment_turns_the_reference_into_the_hypothesis():
    generator = np.random.default_rng(1)
    for _ in range(300):
        reference, hypothesis = (
            [str(word) for word in generator.integers(0, 4, generator.integers(0, 9))] for _ in range(2)
        )
        path, i, j, heard = steps(reference, hypothesis), 0, 0, []
        for step in path:
            assert step != "=" or reference[i] == hypothesis[j]
            assert step != "S" or reference[i] != hypothesis[j]
            heard += [] if step == "D" else [hypothesis[j]]
            i, j = i + (step != "I"), j + (step != "D")
        assert (i, heard) == (len(reference), hypothesis)


@pytest.mark.parametrize("own", [False, True])
def test_words_on_the_page_are_those_that_were_counted(tmp_path, own):
    """The page splits at spaces; French has no-break spaces, which separate words when they are counted."""
    (tmp_path / "ref").write_text("u1 Quoi\u00a0? non  merci\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("u1 Quoi\u00a0! non merci\n", encoding="utf-8")
    meta = {"cider": 1.0} if own else {}
    score_set(tmp_path / "hyp", tmp_path / "ref", tmp_path / "exp" / "greedy" / "test", meta)
    systems = list_systems([read_experiment(tmp_path / "exp")])
    (table,), _ = set_tables(systems)
    payload, _ = set_payload(table, systems, text_bytes=1000)
    ((heard, path, *reference),) = payload["variants"][0]
    for words in (payload["refs"][0], *reference):
        assert words.split(" ") == ["Quoi", "?", "non", "merci"]
    assert (heard.split(" "), path) == (["Quoi", "!", "non", "merci"], "=S==")
    assert bool(reference) == own


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"lambda_text": 0.9, "lambda_speech": 0.3, "lambda_image": 0.2, "alpha": 0.05, "speech_weight": 0.7},
    ],
)
def test_the_weights_of_several_tasks_are_those_of_the_criterion(conf):
    from espnet_sld.criteria.modality import ModalityCriterion
    from espnet_sld.criteria.speech_text import SpeechTextCriterion

    options = inspect.signature(ModalityCriterion).parameters
    assert {name: options[name].default for name in options if name.startswith("lambda_")} == LAMBDAS
    assert set(SPEECH_PARTS) == set(SpeechTextCriterion.objectives)
    sizes = {"text_vocabulary": 5, "speech_vocabulary": 7, "image_vocabulary": 3}
    for objective in ({}, *({"speech_objective": name} for name in SPEECH_PARTS)):
        config = {"mixture": "mixture.yaml", "criterion_conf": conf | objective}
        shown = weights(Experiment("x", Path("x"), {}, config, {}, None))
        assert shown == ModalityCriterion(**sizes, **conf, **objective).weights


@pytest.mark.parametrize(("wanted", "given"), [("all", 2), ("experiment", 1), ("none", 0)])
def test_stage_9_writes_the_pages_that_are_wanted(repo_root, wanted, given):
    options = ["--stage", "9", "--stop_stage", "9", "--dry_run", "true", "--report_attention", "3"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["./run.sh", *options, "--report_pages", wanted]
    folder = repo_root / "egs" / "mini" / "asr_sld"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "espnet_sld.bin.report" in line]
    assert len(lines) == (given > 0)
    assert sum(line.count("--exp_dir ") + line.count("--recipe_dir .") for line in lines) == given
    looked = [line for line in done.stdout.splitlines() if "espnet_sld.bin.attention" in line]
    assert len(looked) == 1 and "decode_greedy/test_voices" in looked[0] and "--number 3" in looked[0]


def test_help_fits_a_screen(capsys):
    for command in (report, attention):
        with pytest.raises(SystemExit):
            command.main(["--help"])
        shown = capsys.readouterr().out
        assert len(shown.splitlines()) <= 50 and "example:" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "task", "name"),
    [
        ("decoder_only", "DecoderOnlyTask", "train_defaults.json"),
        ("ctc_kd", "CtcKdTask", "train_ctc_defaults.json"),
    ],
)
def test_the_default_options_are_those_of_the_task(repo_root, module, task, name):
    program = (
        f"import json\nfrom espnet_sld.tasks.{module} import {task}\n"
        f"print('DEFAULTS', json.dumps({task}.get_default_config(), sort_keys=True, default=str))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("DEFAULTS "))
    path = repo_root / "espnet_sld" / "scoring" / "report" / name
    now = json.loads(line.removeprefix("DEFAULTS "))
    remedy = (
        f"options changed; write them anew: python -c 'import json; from espnet_sld.tasks.{module} import "
        f'{task} as Task; json.dump(Task.get_default_config(), open("{path}", "w"), indent=1, '
        "sort_keys=True)'"
    )
    assert json.loads(path.read_text()) == now, remedy


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"time_mask_prob": 0.05, "dropout": 0.1}, "as trained: masked, with dropout"),
        ({"time_mask_prob": 0.0, "dropout": 0.0, "residual_dropout": 0.1}, "as trained: with dropout"),
        ({"time_mask_prob": 0.05, "dropout": 0.0, "attention_dropout": None}, "as trained: masked"),
        ({"time_mask_prob": 0.0, "dropout": 0.0}, "as trained"),
        ({"interctc_layers": "1", "specaug": "specaug"}, "as trained: with SpecAugment and dropout"),
    ],
)
def test_the_training_curve_is_said_to_be_what_it_is(config, words):
    curves = {phase: {"loss": Curve(np.arange(1, 4), np.ones(3))} for phase in ("train", "valid")}
    page = curves_section(Experiment("x", Path("x"), {}, config, curves, None))
    assert f"training ({words})" in page
