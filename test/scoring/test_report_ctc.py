"""report.html of CTC models: their loss, tokens and speed, and their ablation over seeds."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml

from espnet_sld.bin import report
from espnet_sld.files import read_table
from espnet_sld.scoring.report.build import write_experiment_report, write_recipe_report
from espnet_sld.scoring.report.experiment import read_experiment
from espnet_sld.scoring.report.results_section import real_time
from espnet_sld.scoring.report.setup_section import options_set


@pytest.fixture(scope="module")
def ctc(small_tasks, fsdd_dir, tmp_path_factory):
    return small_tasks.make_ctc(tmp_path_factory.mktemp("ctc"), fsdd_dir)


@pytest.fixture(scope="module")
def ctc_page(ctc, pages):
    made = write_experiment_report(
        ctc / "exp" / "table" / "interaed_kd_seed1", report.read_samples, pages.FEW
    )
    return made.path.read_text()


def test_the_loss_of_a_ctc_model_is_named_weighted_and_counted(ctc_page, pages):
    training = pages.section(ctc_page, "curves")
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", training)
    assert [re.sub(r" ?<.*", "", title) for title in titles[:4]] == [
        "loss", "CTC, last layer", "token errors of greedy CTC", "decoder, last layer"
    ]  # fmt: skip
    assert "nats an utterance, weight 0.25" in titles[1]
    assert "infeasible" not in training and "too few frames" not in training  # it never happened
    assert "not masked" not in training and "with SpecAugment and dropout" in training
    assert "the two lines of a part that is taught are of different losses" in training


def test_a_ctc_models_tokens_are_counted_from_its_files(ctc_page, ctc, small_tasks, pages):
    words = pages.plain(pages.section(ctc_page, "tokens"))
    units = read_table(ctc / "dump/raw/dev" / f"text.rm.mfcc_km{small_tasks.UNITS}")
    lengths = [len(line) for line in units.values()]
    assert f"{min(lengths)} to {max(lengths)}, {np.mean(lengths):.1f} on average" in words
    assert f"{np.mean(lengths) / 2:.1f} on average (unit_subsampling 2)" in words
    assert f"{len(set(''.join(units.values())))} of {small_tasks.UNITS} units occur" in words
    assert "pseudo-perplexity 4.20" in words and "at 90.0 % of the places" in words


def test_a_ctc_page_leaves_out_what_its_results_do_not_have(ctc_page, pages):
    head = re.findall(r"<th [^>]*><button type=button>([^<]*)", pages.section(ctc_page, "errors"))
    assert head == ["decoding", "set", "WER %", "CER %", "S", "I", "D", "words", "utts", "wrong %", "RTF",
                    "RTF, CPU"]  # fmt: skip
    errors = pages.section(ctc_page, "errors")
    assert "0.00085" in errors and ">0.0015<" in errors and 'href="#attending"' not in ctc_page
    assert [real_time(value) for value in (0.000811, 0.0131, 0.25, 1.26, 31.0, None)] == [
        "0.00081", "0.013", "0.25", "1.3", "31.0", "–"
    ]  # fmt: skip


def test_options_are_compared_with_the_defaults_of_their_own_task(ctc):
    options = options_set(read_experiment(ctc / "exp" / "table" / "interaed_kd_seed1").config)
    assert options["unit_subsampling"] == 2 and options["specaug"] == "specaug"
    assert "input" not in options  # `units` is the default of CTC models, and no option of the others
    assert not {key for key in options if key.startswith(("criterion_weights", "target_vocabulary"))}


def test_a_ctc_ablation_is_a_study_over_seeds(ctc, pages):
    page = write_recipe_report(ctc, report.read_samples, pages.FEW).path.read_text()
    study = pages.section(page, "studies")
    for row in ("ctc", "interaed_kd"):
        rates = [
            json.loads((ctc / f"exp/table/{row}_seed{n}/decode_greedy/test/result.json").read_text())["wer"]
            for n in (1, 2)
        ]
        assert f"{np.mean(rates):.2f} ± {np.std(rates, ddof=1):.2f}" in study
    assert "with decoders at intermediate layers too, taught: interAED-KD" in study
    assert "interaed_kd – ctc" in study and "-1.50" in study and "TABLE.json" in study
    assert {one["name"] for one in pages.data_of(page)["systems"]} >= {"ctc_seed1", "interaed_kd_seed2"}
    legend = re.search(r"<ul class=legend>.*?</ul>", pages.section(page, "curves"), re.S)[0]
    assert "ctc (2 seeds)" in legend and len(set(re.findall(r'"line (c\d)', legend))) == 2


def test_a_ctc_model_of_recordings_has_audio_and_no_units(ctc, tmp_path, pages):
    run = tmp_path / "exp" / "ctc_seed1"
    run.parent.mkdir()
    for name in ("dump", "data", "conf"):
        (tmp_path / name).symlink_to(ctc / name)
    shutil.copytree(ctc / "exp" / "table" / "ctc_seed1", run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["valid_data_path_and_name_and_type"][0] = ["dump/raw/org/dev/wav.scp", "speech", "sound"]
    config["train_data_path_and_name_and_type"][0] = ["dump/raw/org/dev/wav.scp", "speech", "sound"]
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "input": "fbank"}))
    page = pages.write(run)
    assert all(len(one["audio"]) == len(one["seconds"]) == 8 for one in pages.data_of(page)["sets"])
    tokens = pages.section(page, "tokens")
    assert "filter banks of the recordings: no units" in tokens and "Unit use" not in tokens
    assert "different</td>" in tokens and "stage 5" not in tokens
