"""The interAED-KD recipes: which commands a row needs, all stages on few recordings, resumption, refusals."""

import json

import pytest

ROWS = ("ctc", "interctc", "aed", "aed_kd", "interaed", "interaed_kd", "ctc_kd")
SMALL = "--encoder_conf output_size=32 --encoder_conf num_blocks=3 --encoder_conf linear_units=32"
SMALL += " --encoder_conf attention_heads=2 --decoder_conf linear_units=32 --decoder_conf attention_heads=2"
TINY = f'{SMALL} --interctc_layers "1 2" --max_epoch 2 --num_iters_per_epoch 8 --batch_bins 1500'
TEACHER = ["--bert_conf", "hidden_size=16 num_hidden_layers=1 num_attention_heads=2 intermediate_size=16"]
TEACHER += ["--teacher_conf", "max_steps=20 warmup_steps=2 batch_tokens=200 eval_interval=10"]
LM = "--lm_conf embed_unit=16 --lm_conf att_unit=16 --lm_conf unit=16 --lm_conf layer=1 --max_epoch 1"
FEW = "--num_train_strings 60 --num_dev_strings 20 --num_test_strings 20"


@pytest.fixture(scope="module")
def digits(copy_recipe, few_digits):
    """A tiny FSDD recipe."""
    return copy_recipe("fsdd", [
        *("--fsdd_dir", str(few_digits), "--nclusters", "40", "--unit_nbpe", "80", "--text_nbpe", "20"),
        *("--speed_perturb_factors", "", "--corpus_opts", FEW, "--nj", "1"),
        *("--test_sets", "test_strings", "--ctc_args", TINY, *TEACHER, "--lm_args", LM),
    ], "ctc_kd")  # fmt: skip


@pytest.fixture(scope="module")
def dry(copy_recipe):
    """The default FSDD recipe, of which the commands are shown."""
    return copy_recipe("fsdd", ["--fsdd_dir", "corpus", "--dry_run", "true"], "ctc_kd")


@pytest.mark.parametrize("row", ROWS)
def test_a_row_gets_the_teacher_that_it_needs_and_no_other(dry, row):
    before = sorted(dry.folder.rglob("*"))
    shown = dry.run("--row", row, "--stage", "6").stdout
    taught = row.endswith("_kd")
    for piece in ("bin.train_teacher", "bin.soft_labels", "--soft_labels"):
        assert (piece in shown) == taught
    assert f"--criterion_conf row={row}" in shown and "espnet2" not in shown
    assert f"exp/{row}_ts_unit_mfcc_km300_word_seed0/decode_greedy/test_strings/text" in shown
    assert sorted(dry.folder.rglob("*")) == before


def test_a_beam_gets_an_lm_and_its_options_name_it(dry):
    decodings = "greedy:batch_size=1 beam:lm_weight=0.3,beam_size=5"
    shown = dry.run("--decodings", decodings, "--stage", "6", "--decode_sets", "dev").stdout
    assert shown.count("espnet2.bin.lm_train") == 2  # statistics, training
    greedy, beam = [line for line in shown.splitlines() if "bin.decode_ctc" in line]
    assert "--lm_weight 0.3 --beam_size 5 --lm_exp exp/lm_word" in beam
    assert "/decode_beam_lm_weight_0.3_beam_size_5/dev" in beam
    assert "--batch_size 1 " in greedy and "/decode_greedy_batch_size_1/dev" in greedy and "lm" not in greedy


@pytest.mark.slow
def test_a_given_teacher_is_used_and_not_trained(dry):
    options = ["--teacher", "models/bert", "--text_token_type", "hf", "--lm_train_text", "'more text' other"]
    shown = dry.run(*options, "--stage", "6").stdout
    assert "bin.train_teacher" not in shown and "--teacher models/bert" in shown
    assert "bin.hf_token_list --model models/bert --out data/token_list/hf_bert/tokens.txt" in shown
    assert "--token_type hf --bpemodel models/bert" in shown
    assert "--text_token_type word" in dry.run(*options, "--stage", "5", "--stop_stage", "5").stdout
    own = dry.run("--lm_train_text", "'more text' other", "--stage", "6").stdout
    assert "--lm_train_text more\\ text other" in own


def test_digit_orders_have_folders_and_sets_of_their_own(dry):
    shown = dry.run("--digit_order", "trigram", "--input", "fbank").stdout
    assert "--order trigram" in shown and "dump_trigram/raw/org/test_trigram/wav.scp" in shown
    assert "exp_trigram/interaed_kd_fbank_word_seed0/decode_greedy/test_uniform" in shown
    assert "dump_trigram/raw/train_sp/wav.scp\\,speech\\,text" in shown and " dump/" not in shown


def test_trainings_that_would_share_gpus_are_refused(dry, monkeypatch):
    monkeypatch.setenv("trainings_at_once", "2")
    refused = dry.run("--ngpu", "1", check=False)
    assert refused.returncode == 1 and "--jobs 2 with --ngpu 1" in refused.stderr and not refused.stdout
    assert dry.run("--ngpu", "0", "--stage", "9").returncode == 0
    monkeypatch.setenv("cmd_backend", "slurm")
    assert dry.run("--ngpu", "1", "--stage", "9").returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--row", "kd"], "--row kd: must be"),
        (["--input", "mel"], "--input mel: must be"),
        (["--decodings", "nbest"], "begins with greedy or beam"),
        (["--digit_order", "bigram"], "--digit_order bigram"),
        (["--decodings", "beam", "--text_token_type", "hf", "--teacher", "x"], "cannot be trained on"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(dry, options, message):
    done = dry.run(*options, check=False)
    assert done.returncode == 1 and message in done.stderr and not done.stdout


@pytest.mark.slow
def test_recordings_become_error_rates_and_a_second_call_makes_nothing_again(digits):
    first = digits.run("--stop_stage", "9", "--decode_sets", "test_strings")
    assert "teacher exp/teacher_word/model on dump/raw/dev/text.ts.en: pseudo-perplexity" in first.stdout
    (experiment,) = digits.folder.glob("exp/interaed_kd_*")
    result = json.loads((experiment / "decode_greedy" / "test_strings" / "result.json").read_text())
    assert result["utterances"] == 20 and result["rtf"] > 0 and result["objective"] == "interaed_kd"
    assert result["n_params"] < 100_000 and "decode_greedy" in (experiment / "RESULTS.md").read_text()
    made = [*experiment.glob("*.pth"), *experiment.glob("decode_*/*/text")]
    for pattern in ("exp/teacher_*/model/*", "exp/soft_labels_*/*.safetensors"):
        made += digits.folder.glob(pattern)
    times = {path: path.stat().st_mtime_ns for path in made}
    digits.run("--stage", "6", "--stop_stage", "9", "--decode_sets", "test_strings")
    assert {path: path.stat().st_mtime_ns for path in made} == times


@pytest.mark.campaign
@pytest.mark.parametrize("row", [row for row in ROWS if row != "interaed_kd"])
def test_every_row_has_the_same_model_at_inference(digits, row):
    digits.run("--stop_stage", "9", "--row", row)
    sizes = {
        json.loads(path.read_text())["n_params"]
        for path in digits.folder.glob("exp/*_seed0/decode_greedy/test_strings/result.json")
    }
    assert len(sizes) == 1


@pytest.mark.campaign
@pytest.mark.parametrize("options", [["--text_token_type", "char"], ["--text_token_type", "unigram"]])
def test_characters_and_pieces_do(digits, options):
    digits.run("--stop_stage", "9", "--decodings", "greedy beam:beam_size=2", *options)
    kind = "char" if "char" in options else "unigram20"
    found = digits.folder.glob(f"exp/interaed_kd_*_{kind}_seed0/decode_*/test_strings/result.json")
    results = {path.parent.parent.name: json.loads(path.read_text()) for path in found}
    assert set(results) == {"decode_greedy", "decode_beam_beam_size_2"}
    assert len({result["n_params"] for result in results.values()}) == 1
    assert results["decode_beam_beam_size_2"]["lm_params"] > 0


@pytest.mark.campaign
def test_a_tiny_table_is_trained_and_a_second_call_trains_nothing(copy_recipe, few_digits):
    options = ["--rows", "ctc interaed_kd", "--seeds", "1 2", "--lm_weights", "0.2 0.5"]
    options += ["--sets", "dev test_trigram", "--ctc_args", TINY, "--beam_size", "2", "--"]
    options += ["--fsdd_dir", str(few_digits), "--corpus_opts", FEW, "--nclusters", "40", "--unit_nbpe", "80"]
    options += ["--text_nbpe", "20", "--lm_args", LM, "--speed_perturb_factors", "", *TEACHER]
    recipe = copy_recipe("fsdd", options, "ctc_kd")
    recipe.script = "./run_table.sh"
    recipe.run()
    out = recipe.folder / "exp_trigram/table"
    text = (out / "TABLE.md").read_text()
    for piece in ("interaed_kd – ctc", "ctc_beam", "faster than their beam search", "one by one"):
        assert piece in text
    values = json.loads((out / "TABLE.json").read_text())["rows"]
    # aed_kd was not run: a declared contrast names it
    assert list(values) == ["ctc", "aed_kd", "interaed_kd", "ctc_beam"]
    trained = [values[row] for row in ("ctc", "interaed_kd", "ctc_beam")]
    assert all(cells["sets"]["test_trigram"]["seeds"] == [1, 2] for cells in trained)
    assert values["aed_kd"]["sets"]["test_trigram"]["seeds"] == []
    assert len({tuple(cells["parameters"]) for cells in trained}) == 1
    models = {path: path.stat().st_mtime_ns for path in out.glob("*_seed*/*.pth")}
    recipe.run()
    assert {path: path.stat().st_mtime_ns for path in out.glob("*_seed*/*.pth")} == models
    assert (out / "TABLE.md").read_text() == text


@pytest.mark.campaign
def test_synthetic_commands_do(copy_recipe):
    sizes = "--num_train 80 --num_dev 10 --num_test 20 --num_test_voices 10"
    options = ["--corpus_opts", sizes, "--ctc_args", TINY, "--nclusters", "40", *TEACHER]
    recipe = copy_recipe("mini", options, "ctc_kd")
    recipe.run("--stop_stage", "9")
    results = list(recipe.folder.glob("exp/interaed_kd_*/decode_greedy/*/result.json"))
    assert {path.parent.name for path in results} == {"dev", "test", "test_voices"}


@pytest.mark.parametrize("corpus", ["mini", "fsdd", "librispeech"])
def test_a_dry_table_names_every_step_and_writes_nothing(copy_recipe, corpus):
    recipe = copy_recipe(corpus, ["--dry_run", "true"], "ctc_kd")
    recipe.script = "./run_table.sh"
    before = sorted(recipe.folder.rglob("*"))
    shown = recipe.run("--seeds", "1 2 3").stdout
    # 7 rows × 3 seeds; 4 weights of the LM; 7 rows timed and 3 beams; the table
    for piece in ("--stop_stage 6", "JOB=1:21", "JOB=1:4", "best_decoding", "JOB=1:10", "bin.ctc_table"):
        assert piece in shown
    assert sorted(recipe.folder.rglob("*")) == before
    refused = recipe.run("--rows", "ctc sld", check=False)
    assert refused.returncode == 1 and "no row 'sld'" in refused.stderr and not refused.stdout
