"""The LibriSpeech recipe on genuine files: every front-end and checkpoint format ends in a table of WERs.

A few chapters, small random models: the figures say nothing, that every stage runs on genuine files does.
"""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

CHAPTERS = {
    "train-clean-100": ("26/496", "27/124992"),
    "test-clean": ("121/121726", "121/123852"),
    "test-other": ("1688/142285", "533/1066"),
}
CLUSTERS, LAYER = 40, 2
TRAINING = "--max_epoch 2 --num_iters_per_epoch 8 --accum_grad 2 --batch_bins 1500 --num_workers 0"
# name → front-end's maker, kind, format, backend
MODELS = {
    "wavlm_s3prl": ("make_wavlm", "large", "s3prl", "s3prl"),
    "wavlm_microsoft": ("make_wavlm", "large", "microsoft", "s3prl"),
    "wavlm_transformers": ("make_wavlm", "large", "transformers", "transformers"),
    "hubert_s3prl": ("make_hubert", "large", "s3prl", "s3prl"),
    "hubert_microsoft": ("make_hubert", "large", "microsoft", "s3prl"),
    "hubert_transformers": ("make_hubert", "large", "transformers", "transformers"),
}


@pytest.fixture(scope="session")
def slices(link_chapters) -> Path:
    """Two chapters a part of the genuine corpus, by links, in its layout."""
    return link_chapters(CHAPTERS)


@pytest.fixture(scope="session")
def tiny_gpt2(slices: Path, train_byte_level, tmp_path_factory) -> Path:
    """A Hugging Face directory as GPT-2 medium's: weights and a byte-level BPE, both small."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    path = tmp_path_factory.mktemp("backbone") / "gpt2-tiny"
    texts = [
        line.partition(" ")[2].lower()
        for file in slices.glob("LibriSpeech/train-clean-100/*/*/*.trans.txt")
        for line in file.read_text().splitlines()
    ]
    tokenizer = train_byte_level(texts, 400)
    tokenizer.save_pretrained(path)
    torch.manual_seed(1)
    settings = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=1024)
    settings.bos_token_id = settings.eos_token_id = 0
    GPT2LMHeadModel(settings).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def recipe(copy_recipe, slices, tiny_gpt2):
    """The recipe after stages 1 and 2, on train-clean-100's slice; every front-end goes on from there."""
    recipe = copy_recipe("librispeech", [
        *("--librispeech_dir", str(slices), "--train_parts", "train-clean-100"),
        *("--dev_parts", "test-other", "--test_parts", "test-clean test-other"),
        *("--ngpu", "0", "--nj", "2", "--nclusters", str(CLUSTERS), "--kmeans_hours", "0.1"),
        *("--unit_nbpe", "150", "--text_nbpe", "60", "--backbone", str(tiny_gpt2)),
        *("--asr_args", TRAINING),
    ])  # fmt: skip
    done = recipe.run("--stop_stage", "2")
    recipe.first_stages = done.stdout + done.stderr
    return recipe


def checkpoint(recipe, small_ssl: ModuleType, name: str) -> tuple[str, list[str]]:
    """Write a small model beside the recipe; its tag in file names, and the options that choose it."""
    maker, kind, form, backend = MODELS[name]
    path = Path("models") / (name if form == "transformers" else f"{name}.pt")
    (recipe.folder / "models").mkdir(exist_ok=True)
    getattr(small_ssl, maker)(recipe.folder / path, kind, form)
    return f"{name}_{LAYER}", ["--kmeans_feature", f"./{path}/{LAYER}", "--frontend_backend", backend]


def check_results(recipe, tag: str, config: str) -> None:
    """The experiment that used units `tag` has error rates of every set and a table."""
    experiment = recipe.folder / f"exp/asr_sld_{config}_ts_unigram_{tag}_km{CLUSTERS}_seed0"
    for name, utterances in (("test_clean", 20), ("test_other", 20)):
        out = experiment / "decode_greedy" / name
        result = json.loads((out / "result.json").read_text())
        errors = result["sub"] + result["ins"] + result["del"]
        assert result["utterances"] == utterances and result["ref_words"] > 200
        assert result["wer"] == pytest.approx(100 * errors / result["ref_words"])
        assert result["model"] == "gpt2" and result["objective"] == "sld"
        assert len((out / "hyp.trn").read_text().splitlines()) == utterances
        words = (out / "ref.trn").read_text()
        assert words.lower() == words
    table = (experiment / "RESULTS.md").read_text()
    assert "test_clean" in table and "test_other" in table
    packed = recipe.folder / "exp" / "packed" / experiment.name
    assert (packed / "manifest.json").exists()
    assert (packed / "frontend").exists() == (tag != "mfcc")  # a checkpoint of one's own goes along


def units(recipe, tag: str, name: str) -> dict[str, list[str]]:
    model, _, layer = tag.rpartition("_")
    path = recipe.folder / f"dump/extracted/{model}/layer{layer}/{name}/pseudo_labels_km{CLUSTERS}.txt"
    return {line.split()[0]: line.split()[1:] for line in path.read_text().splitlines()}


@pytest.mark.slow
def test_audio_becomes_a_table_of_error_rates_by_a_small_wavlm(recipe, small_ssl):
    tag, options = checkpoint(recipe, small_ssl, "wavlm_s3prl")
    recipe.run("--stage", "3", *options)
    check_results(recipe, tag, "sld_wavlm")
    assert "OVERLAP: test-other in --dev_parts and in --test_parts" in recipe.first_stages

    trained = units(recipe, tag, "train_clean_100_sp")
    plain = [name for name in trained if not name.startswith("sp")]
    assert len(trained) == 3 * len(plain) == 3 * (27 + 79)
    slow, fast = (sum(len(trained[f"sp{factor}-{name}"]) for name in plain) for factor in (0.9, 1.1))
    assert slow / fast == pytest.approx(1.1 / 0.9, rel=0.01)
    gender = (recipe.folder / "data/train_clean_100/spk2gender").read_text().split()
    assert gender == ["26-496", "m", "27-124992", "m"]
    report = json.loads(next(recipe.folder.glob("exp/unit_report/*/report.json")).read_text())
    assert set(report["sets"]) == {"train_clean_100_sp", "test_other", "test_clean"}
    assert report["max_positions"] == 1024


@pytest.mark.campaign
@pytest.mark.parametrize("name", [name for name in MODELS if name != "wavlm_s3prl"])
def test_every_format_of_a_checkpoint_does(recipe, small_ssl, name):
    tag, options = checkpoint(recipe, small_ssl, name)
    recipe.run("--stage", "3", *options)
    check_results(recipe, tag, f"sld_{name.partition('_')[0]}")


@pytest.mark.campaign
def test_formats_of_the_same_weights_give_the_same_units(recipe, small_ssl):
    for model in ("wavlm", "hubert"):
        found = []
        for form in ("s3prl", "microsoft", "transformers"):
            tag, options = checkpoint(recipe, small_ssl, f"{model}_{form}")
            recipe.run("--stage", "3", "--stop_stage", "4", *options)
            found.append(units(recipe, tag, "test_clean"))
        for other in found[1:]:
            assert other.keys() == found[0].keys()
            pairs = [p for name in other for p in zip(other[name], found[0][name], strict=True)]
            # Each fits its own k-means, on features that differ in their last bits.
            assert sum(a != b for a, b in pairs) <= 0.002 * len(pairs)


@pytest.mark.campaign
def test_mfcc_units_do(recipe):
    options = ["--kmeans_feature", "mfcc", "--kmeans_feature_conf", "frame_shift_ms=20"]
    recipe.run("--stage", "3", *options)
    check_results(recipe, "mfcc", "sld_wavlm")


@pytest.mark.campaign
def test_sampled_units_and_the_modern_configuration_train(recipe):
    small = "--backbone_conf hidden_size=32 --backbone_conf intermediate_size=64"
    small += " --backbone_conf num_hidden_layers=2 --backbone_conf num_attention_heads=2"
    options = ["--kmeans_feature", "mfcc", "--unit_case", "rm", "--unit_token_type", "bpe", "--backbone", ""]
    options += ["--text_token_type", "bpe", "--asr_config", "conf/tuning/train_modern_small.yaml"]
    recipe.run("--stage", "3", *options, "--asr_args", f"{TRAINING} {small}")
    (log,) = recipe.folder.glob("exp/asr_sld_modern_small_*/train.log")
    assert not re.search(r"Traceback|nan", log.read_text())
    assert len(list(recipe.folder.glob("exp/asr_sld_modern_small_*/decode_greedy/*/result.json"))) == 2
