"""DMLM through its commands, on real recordings and images: it learns, resumes bit-equal, and generates."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from espnet_sld.bin import collect_mixture, generate
from espnet_sld.bin.train import load_task, main
from espnet_sld.corpus.audio import convert, load
from espnet_sld.criteria import ModalityCriterion
from espnet_sld.errors import InputError
from espnet_sld.files import read_table, write_table
from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.build import build_decoder_only
from espnet_sld.tokens import Vocabulary, assemble, get_template
from espnet_sld.tokens.dmlm_templates import vocabulary_specials
from espnet_sld.units.frontends.mfcc import Mfcc
from espnet_sld.units.kmeans import FitOptions
from espnet_sld.units.kmeans_fit import fit
from espnet_sld.units.unit_text import deduplicate, ids_to_text

load_task()

ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FRENCH = ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"]
UNITS, CODES = 16, 8


@pytest.fixture(scope="module")
def digits(fsdd_dir, tmp_path_factory) -> Path:
    """Unit text of real recordings, and 2×2 patches of scikit-learn's handwritten digits as image tokens."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    names = {"train": range(4), "valid": range(4, 6)}
    waves = {
        (role, f"{speaker}-{digit}-{take}"): convert(
            load(fsdd_dir / "recordings" / f"{digit}_{speaker}_{take}.wav"), 16000
        )
        for role, takes in names.items()
        for speaker in ("george", "jackson")
        for digit in range(10)
        for take in takes
    }
    frames = dict(zip(waves, Mfcc().extract(list(waves.values())), strict=True))
    kmeans = fit(np.concatenate([values for (role, _), values in frames.items() if role == "train"]),
                 FitOptions(num_clusters=UNITS, max_iter=10))  # fmt: skip
    images = load_digits()
    for role, (first, last) in {"train": (0, 120), "valid": (120, 160)}.items():
        own = {key: values for (which, key), values in frames.items() if which == role}
        digit = {key: int(key.split("-")[1]) for key in own}
        units = {key: ids_to_text(deduplicate(kmeans.assign(values))[0]) for key, values in own.items()}
        write_table(folder / f"{role}.speech", units)
        write_table(folder / f"{role}.en", {key: ENGLISH[number] for key, number in digit.items()})
        write_table(folder / f"{role}.fr", {key: FRENCH[number] for key, number in digit.items()})
        tokens, captions = {}, {}
        for number in range(first, last):
            patches = images.images[number].reshape(4, 2, 4, 2).mean((1, 3)).ravel() // 2
            tokens[f"image{number}"] = " ".join(str(int(value)) for value in patches.clip(max=CODES - 1))
            captions[f"image{number}"] = f"a {ENGLISH[images.target[number]]}"
        write_table(folder / f"{role}.image", tokens)
        write_table(folder / f"{role}.caption", captions)
    words = ["<blank>", "<unk>", "a", *dict.fromkeys(ENGLISH + FRENCH), "<sos/eos>"]
    (folder / "tokens.txt").write_text("\n".join(words) + "\n", encoding="utf-8")

    def sets(role: str) -> list[dict]:
        at = {name: str(folder / f"{role}.{name}") for name in ("speech", "en", "fr", "image", "caption")}
        return [
            {"name": "asr", "task": "asr", "speech": at["speech"], "text": at["en"], "weight": 2},
            {"name": "tts", "task": "tts", "speech": at["speech"], "text": at["en"]},
            {"name": "st", "task": "st", "language": "fr", "speech": at["speech"], "target_text": at["fr"]},
            {"name": "mt", "task": "mt", "language": "fr", "text": at["en"], "target_text": at["fr"]},
            {
                "name": "caption",
                "task": "caption",
                "image": at["image"],
                "text": at["caption"],
                "weight": 0.5,
            },
            {
                "name": "raw",
                "unlabelled": True,
                "speech": at["speech"],
                "text": at["en"],
                "image": at["image"],
            },
        ]

    mixture = {"train": sets("train"), "valid": sets("valid")}
    (folder / "mixture.yaml").write_text(yaml.safe_dump(mixture, allow_unicode=True), encoding="utf-8")
    return folder


@pytest.fixture
def arguments(digits, tmp_path) -> list[str]:
    """Of `bin.train`, for an OPT of two layers."""
    conf = {
        "backbone_conf": {"model_type": "opt", "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2,
                          "num_attention_heads": 2, "word_embed_proj_dim": 32},
        "criterion": "modality",
        "dropout": 0.0, "batch_bins": 600, "accum_grad": 2, "num_iters_per_epoch": 20, "max_epoch": 4,
        "optim_conf": {"lr": 0.01}, "scheduler": "warmup_cosine", "scheduler_conf": {"warmup_steps": 0.1},
        "grad_clip": 1.0, "best_model_criterion": [["valid", "loss", "min"]], "keep_nbest_models": 2,
        "use_tensorboard": False, "peak_flops": 1e10, "seed": 2,
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(conf))
    return ["--config", str(tmp_path / "train.yaml"), *sequence(digits)]


def sequence(digits: Path) -> list[str]:
    return ["--mixture", str(digits / "mixture.yaml"), "--num_clusters", str(UNITS),
            "--num_image_tokens", str(CODES), "--text_token_type", "word", "--text_token_path", str(digits),
            "--max_positions", "96", "--max_text", "6"]  # fmt: skip


@pytest.mark.slow
def test_a_mixture_of_real_data_lowers_every_part_resumes_bit_equal_and_generates(
    arguments, digits, tmp_path, monkeypatch, runs
):
    stats, exp = tmp_path / "stats", tmp_path / "whole"
    collect_mixture.main([*sequence(digits), "--out_dir", str(stats)])
    arguments += ["--mixture_stats", str(stats), "--resume", "true"]
    main([*arguments, "--output_dir", str(exp)])
    figures = runs.statistics(exp)
    for part in ("loss", "ce_text", "ce_speech", "ce_image"):
        assert figures[4]["valid"][part] < figures[1]["valid"][part] * 0.95, part

    with monkeypatch.context() as patch:
        runs.kill_in(patch, ModalityCriterion, "total", 51)  # within an epoch and within a step
        with pytest.raises(runs.Killed):
            main([*arguments, "--output_dir", str(tmp_path / "killed"), "--save_interval_steps", "3"])
    main([*arguments, "--output_dir", str(tmp_path / "killed"), "--save_interval_steps", "3"])
    runs.assert_same_training(tmp_path / "killed", exp)

    (tmp_path / "draw.yaml").write_text("temperature: 0.8\ntop_k: 5\nmin_tokens: 2\n")
    vocabulary = set(read_table(digits / "tokens.txt", allow_empty_value=True))
    for task, source, more, output in (
        ("asr", "speech", [], "text"),
        ("st", "speech", ["--language", "fr"], "text"),
        ("caption", "image", [], "text"),
        ("tts", "en", ["--config", str(tmp_path / "draw.yaml"), "--seed", "7"], "units"),
    ):
        out = exp / f"{task}_test" / "valid"
        command = [
            *("--exp_dir", str(exp), "--checkpoint", "valid.loss.ave.pth", "--task", task, *more),
            *("--source", str(digits / f"valid.{source}"), "--out_dir", str(out)),
            *("--mixture_stats", str(stats)),
        ]
        generate.main(command)
        found = read_table(out / output, allow_empty_value=True)
        assert list(found) == sorted(read_table(digits / f"valid.{source}"))
        record = json.loads((out / "decode.json").read_text())
        assert (record["task"], record["utterances"], record["objective"]) == (task, len(found), "modality")
        if output == "units":
            labels = read_table(out / f"pseudo_labels_km{UNITS}.txt")
            assert all(found[key] == ids_to_text(map(int, labels[key].split())) for key in found)
            assert min(map(len, found.values())) >= 2
        else:
            assert {word for text in found.values() for word in text.split()} <= vocabulary
        before = (out / "decode.done.json").stat().st_mtime_ns
        generate.main(command)
        assert (out / "decode.done.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"not trained for 'st <generatetranslation>'; it was for: asr"):
        generate.main([*("--exp_dir", str(exp), "--checkpoint", "valid.loss.ave.pth", "--task", "st"),
                       *("--source", str(digits / "valid.speech"), "--out_dir", str(exp / "x"))])  # fmt: skip


# -- backbones --------------------------------------------------------------------------------------
SMALL = {
    "opt": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 24,
            "word_embed_proj_dim": 16},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
    "llama": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24},
}  # fmt: skip
TEMPLATES = [get_template(name) for name in ("asr", "tts", "caption")]


def one_step(vocabulary: Vocabulary, conf: dict, length: int = 6) -> tuple[list[float], torch.nn.Module]:
    """Loss before and after an optimiser step on one batch of three tasks, and the model."""
    torch.manual_seed(0)
    model = build_decoder_only({"vocabulary": vocabulary.as_dict(), "pad_id": 1, "dropout": 0.0, **conf})
    rng = np.random.default_rng(0)
    rows = []
    for template in TEMPLATES:
        sample = {kind: rng.integers(3, len(vocabulary.range(kind)), length) for kind in template.fields}
        rows.append(assemble(template.training(sample, vocabulary), vocabulary, 64, 20))
    tokens = torch.from_numpy(np.stack([row.tokens for row in rows]))
    kinds = torch.from_numpy(np.stack([row.kinds for row in rows]))
    sizes = {f"{kind}_vocabulary": len(vocabulary.range(kind)) for kind in ("text", "speech", "image")}
    criterion = ModalityCriterion(**sizes)  # λ of the paper
    counts = criterion.counts(tokens, kinds)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def loss() -> torch.Tensor:
        return criterion.total(criterion(model.hidden(tokens), model.output_matrix(), tokens, kinds), counts)

    before = loss()
    before.backward()
    optimizer.step()
    with torch.no_grad():
        return [float(before.detach()), float(loss())], model


@pytest.mark.parametrize("name", SMALL)
def test_each_type_of_backbone_takes_a_step_on_all_modalities(name):
    vocabulary = Vocabulary(text=12, speech=9, image=8, specials=vocabulary_specials(TEMPLATES))
    losses, model = one_step(vocabulary, {"backbone_conf": {"model_type": name, **SMALL[name]}})
    assert losses[1] < losses[0]
    assert model.output_matrix().size(0) == vocabulary.size


def test_an_opt_directory_loads_keeps_its_rows_and_its_pad_row_learns(tmp_path):
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(4)
    old = OPTForCausalLM(
        OPTConfig(vocab_size=16, max_position_embeddings=64, **SMALL["opt"])
    )  # padding_idx 1
    old.save_pretrained(tmp_path / "opt")
    before = old.get_input_embeddings().weight.detach().clone()
    vocabulary = Vocabulary(text=12, speech=9, image=8, specials=vocabulary_specials(TEMPLATES))
    loaded = build_backbone(str(tmp_path / "opt"), {}, vocabulary.size, text_vocabulary=12, max_positions=64)
    embedding = loaded.get_input_embeddings()
    assert torch.equal(embedding.weight[:12], before[:12])
    assert embedding.weight is loaded.get_output_embeddings().weight
    embedding(torch.tensor([1, 3])).sum().backward()
    assert embedding.weight.grad[1].abs().sum() > 0
    losses, _ = one_step(vocabulary, {"backbone_source": str(tmp_path / "opt"), "max_positions": 64})
    assert losses[1] < losses[0]


@pytest.mark.slow
def test_the_large_configuration_builds_and_takes_a_step():
    """OPT-125M's shape, random weights; its 50 265 text tokens, 2000 Whisper units, 8192 codes of a dVAE."""
    opt = {"model_type": "opt", "hidden_size": 768, "ffn_dim": 3072, "num_hidden_layers": 12,
           "num_attention_heads": 12, "word_embed_proj_dim": 768}  # fmt: skip
    specials = vocabulary_specials(TEMPLATES)
    vocabulary = Vocabulary(text=50265, speech=2000, image=8192, specials=specials)
    losses, model = one_step(vocabulary, {"backbone_conf": opt, "max_positions": 2048}, length=4)
    assert losses[1] < losses[0]
    added = vocabulary.size - 50272  # OPT-125M's own rows, a few of them spare
    assert model.num_parameters() == 125_239_296 + added * 768
