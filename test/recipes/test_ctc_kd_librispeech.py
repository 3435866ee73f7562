"""The LibriSpeech recipe of interAED-KD: all stages on genuine recordings, and its large configurations."""

import json

import pytest
import torch
import yaml

from espnet_sld.tasks.encoders import build_recogniser

CHAPTERS = {
    "train-clean-100": ("26/496", "27/124992"),
    "test-clean": ("121/121726",),
    "test-other": ("1688/142285",),
}
# what the recipe's README says: parameters at inference and in training
SIZES = {"train_960h": (1000, 115_363_304, 171_967_832), "train_100h": (300, 20_983_596, 30_028_764)}


@pytest.fixture(scope="module")
def recipe(copy_recipe, link_chapters):
    """The recipe on a slice of train-clean-100."""
    return copy_recipe("librispeech", [
        *("--librispeech_dir", str(link_chapters(CHAPTERS)), "--variant", "librispeech_100"),
        *("--dev_parts", "test-other", "--test_parts", "test-clean", "--ngpu", "0", "--nj", "2"),
        *("--nclusters", "40", "--unit_nbpe", "80", "--text_nbpe", "60"),
        *("--ctc_config", "conf/train_slice.yaml"),
        *("--bert_conf", "hidden_size=16 num_hidden_layers=1 num_attention_heads=2 intermediate_size=16"),
        *("--teacher_conf", "max_steps=20 warmup_steps=2 batch_tokens=800 eval_interval=10"),
        *("--lm_args", "--lm_conf att_unit=16 --lm_conf unit=16 --lm_conf layer=1 --max_epoch 1"),
    ], "ctc_kd")  # fmt: skip


@pytest.mark.campaign
@pytest.mark.parametrize(("heard", "tag"), [("fbank", "fbank"), ("units", "rm_unit_mfcc_km40")])
def test_genuine_recordings_become_error_rates(recipe, heard, tag):
    recipe.run("--input", heard, "--decodings", "greedy beam:beam_size=2", "--stop_stage", "9")
    experiment = recipe.folder / f"exp_librispeech_100/interaed_kd_slice_{tag}_unigram60_seed0"
    for decoding in ("decode_greedy", "decode_beam_beam_size_2"):
        result = json.loads((experiment / decoding / "test_clean" / "result.json").read_text())
        errors = result["sub"] + result["ins"] + result["del"]
        assert result["ref_words"] > 100 and result["rtf"] > 0
        assert result["wer"] == pytest.approx(100 * errors / result["ref_words"], abs=1e-3)


@pytest.mark.campaign
def test_a_bert_of_ones_own_teaches_a_student_on_its_word_pieces(recipe):
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    recipe.run("--stop_stage", "5")
    (text,) = recipe.folder.glob("dump_librispeech_100/raw/train_clean_100_sp/text.ts.en")
    letters = sorted({c for line in text.read_text().splitlines() for c in line.partition(" ")[2]} - {" "})
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{c}" for c in letters),
        "the",
        "and",
    ]
    bert = recipe.folder / "models" / "bert"
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForMaskedLM(BertConfig(vocab_size=len(words), **size)).save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizer(str(bert / "vocab.txt")).save_pretrained(bert)
    recipe.run("--teacher", "models/bert", "--text_token_type", "hf", "--stage", "6", "--stop_stage", "9")
    (result,) = recipe.folder.glob("exp_librispeech_100/*_hf_bert_seed0/decode_greedy/test_clean/result.json")
    assert json.loads(result.read_text())["ref_words"] > 100


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("heard", ["fbank", "units"])
def test_the_large_configurations_are_whole_and_of_the_documented_size(repo_root, name, heard):
    folder = repo_root / "egs" / "librispeech" / "ctc_kd"
    conf = yaml.safe_load((folder / "conf" / f"{name}.yaml").read_text())
    layers = [int(layer) for layer in conf["interctc_layers"].split()]
    assert layers == list(range(3, conf["encoder_conf"]["num_blocks"], 3))
    vocabulary, at_inference, in_training = SIZES[name]
    sizes = {
        "target_vocabulary": vocabulary,
        "unit_vocabulary": 2000,
        "interctc_layers": layers,
        "input": heard,
    }
    with torch.device("meta"):
        model = build_recogniser({**conf, **sizes}, [*layers, "last"])
    total = sum(parameter.numel() for parameter in model.parameters())
    assert total - model.num_inference_parameters() == in_training - at_inference
    if heard == "fbank":
        assert (model.num_inference_parameters(), total) == (at_inference, in_training)
        readme = (folder / "README.md").read_text()
        assert all(f"{count:,}".replace(",", " ") in readme for count in (at_inference, in_training))


@pytest.mark.slow
def test_the_variants_choose_their_configuration_and_folders(recipe):
    def shown(*options):
        return recipe.run("--dry_run", "true", "--ctc_config", "", "--text_nbpe", "", *options).stdout

    small = shown("--variant", "librispeech_100")
    assert "--config conf/train_100h.yaml" in small and "tgt_bpe_unigram300_ts_en" in small
    assert "dump_librispeech_100/raw/org/test_clean/wav.scp" in small
    large = shown("--variant", "librispeech_960")
    assert "--config conf/train_960h.yaml" in large and "tgt_bpe_unigram1000_ts_en" in large
    assert "dump/raw/train_960_sp/wav.scp" in large
