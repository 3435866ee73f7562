"""The hardware document: its counts against torch's own, its figures against the recipe and the command."""

import tracemalloc
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from espnet_sld.bin.hardware import get_parser, main, render
from espnet_sld.errors import InputError
from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.costs.assumptions import GPUS, Assumptions
from espnet_sld.models.costs.counts import LanguageModel, SpeechEncoder, lloyd_flops
from espnet_sld.models.costs.stages import Plan
from espnet_sld.models.costs.words import big, gigabytes, hours_words, power, two_digits
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.flops import FlopCounter

SMALL = SpeechEncoder(
    layers=3, hidden=48, inner=80, heads=4, channels=16, position_kernel=16, position_groups=4, buckets=32
)


def small_encoder(kind: str, layers: int):
    """The same layout in transformers, with random weights; its attention by plain products."""
    from transformers import HubertConfig, HubertModel, WavLMConfig, WavLMModel

    config, model = {"wavlm": (WavLMConfig, WavLMModel), "hubert": (HubertConfig, HubertModel)}[kind]
    options = {"num_buckets": SMALL.buckets} if kind == "wavlm" else {"attn_implementation": "eager"}
    return model(
        config(
            hidden_size=SMALL.hidden,
            intermediate_size=SMALL.inner,
            num_hidden_layers=layers,
            num_attention_heads=SMALL.heads,
            conv_dim=(SMALL.channels,) * 7,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            num_conv_pos_embeddings=SMALL.position_kernel,
            num_conv_pos_embedding_groups=SMALL.position_groups,
            **options,
        )
    ).eval()


# -- counts ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["wavlm", "hubert"])
@pytest.mark.parametrize("samples", [5000, 16_000, 16_001])
def test_an_encoders_flops_are_what_torch_counts(kind, samples):
    shape = SMALL if kind == "wavlm" else SpeechEncoder(**{**vars(SMALL), "gates": 0})
    for layers in (1, 3):
        model = small_encoder(kind, layers)
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            hidden = model(torch.randn(1, samples)).last_hidden_state
        assert hidden.shape[1] == shape.conv_lengths(samples)[-1]
        assert shape.flops(samples, layers) == counted.get_total_flops()


@pytest.mark.parametrize("kind", ["wavlm", "hubert"])
def test_an_encoders_parameters_are_those_of_the_model(kind):
    shape = SMALL if kind == "wavlm" else SpeechEncoder(**{**vars(SMALL), "gates": 0})
    model = small_encoder(kind, 2)
    weights = {name: weight.numel() for name, weight in model.named_parameters()}
    weights.pop("masked_spec_embed", None)  # for training it only
    assert shape.parameters(2) == sum(weights.values())


def test_wavlm_large_has_the_size_that_is_known():
    """39 GFLOP a second of audio, of which stopping at block 21 saves 11 %; 315 M parameters."""
    wavlm, samples = SpeechEncoder(), round(12.3 * 16_000)
    per_second = wavlm.flops(samples) / 12.3
    assert per_second == pytest.approx(39e9, rel=0.005)
    assert 1 - wavlm.flops(samples, 21) / wavlm.flops(samples) == pytest.approx(0.11, abs=0.005)
    assert wavlm.parameters() == pytest.approx(315.5e6, rel=0.001)


def test_a_language_models_flops_are_what_torch_and_the_trainer_count(scratch):
    lm = DecoderOnlyLM(build_backbone(None, scratch("gpt2"), 31, dropout=0.0), 1)
    config = lm.backbone.config
    shape = LanguageModel(config.num_hidden_layers, config.hidden_size, config.max_position_embeddings, 31)
    lengths, rows = [16, 16], 2 * 16
    ours = shape.forward(lengths, rows)
    assert ours == FlopCounter(lm).forward(lengths, rows)
    assert shape.training(lengths, rows) == FlopCounter(lm).training(lengths, rows) == 3 * ours
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        lm(torch.randint(31, (2, 16)))
    by_operator = counted.get_flop_counts()["Global"]
    attention = sum(flops for name, flops in by_operator.items() if "attention" in str(name))
    causal_half = 2 * shape.layers * shape.hidden * sum(length**2 for length in lengths)
    assert counted.get_total_flops() - attention == ours - causal_half
    assert attention in (0, 2 * causal_half)  # 0: the CPU kernel is not in torch's table
    assert shape.parameters() == sum(weight.numel() for weight in lm.parameters())


def test_gpt2_mediums_parameters_are_the_published_ones():
    assert LanguageModel().parameters() == 354_823_168
    assert LanguageModel(vocabulary=56_259).parameters() == 354_823_168 + 6002 * 1024


def test_a_pass_of_lloyds_algorithm_is_two_products():
    frames, centroids = torch.randn(50, 12), torch.randn(7, 12)
    with FlopCounterMode(display=False) as counted:
        labels = (frames @ centroids.T).argmax(1)
        torch.nn.functional.one_hot(labels, 7).T.float() @ frames
    assert lloyd_flops(50, 7, 12) == counted.get_total_flops()


# -- bytes ----------------------------------------------------------------------------------------
def test_memory_of_the_training_data_is_what_the_dataset_takes(tmp_path):
    from espnet_sld.tasks.dataset import SequenceDataset

    plan, number = Plan(960.0), 400
    units = round(plan.assume.utterance_seconds * plan.assume.frames_per_second)
    letters = round(5.5 * plan.assume.words_per_second * plan.assume.utterance_seconds)
    ids = [f"sp0.9-1034-121119-{index:04d}" for index in range(number)]
    text = "".join(chr(0x4E00 + index % 2000) for index in range(units))
    (tmp_path / "speech").write_text("".join(f"{utterance} {text}\n" for utterance in ids))
    (tmp_path / "text").write_text("".join(f"{utterance} {'a' * letters}\n" for utterance in ids))
    (tmp_path / "shape").write_text("".join(f"{utterance} {plan.length}\n" for utterance in ids))

    def preprocess(utterance, sample):
        tokens = np.zeros(plan.length, np.int64)
        return SimpleNamespace(tokens=tokens, kinds=np.ones(plan.length, np.uint8), cut=0, cut_target=0)

    criterion = SimpleNamespace(
        count_names=tuple("abcd"), counts=lambda tokens, kinds: dict.fromkeys("abcd", 1)
    )
    tracemalloc.start()
    paths = [(str(tmp_path / name), name) for name in ("speech", "text")]
    data = SequenceDataset(paths, preprocess, shape_file=str(tmp_path / "shape"))
    for index in range(number):
        data.counts(index, criterion)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert plan.dataset_bytes == pytest.approx(held / number, rel=0.15)


@pytest.mark.slow
def test_memory_of_the_kaldi_tables_is_what_reading_them_takes(tmp_path):
    from espnet_sld.corpus.data_dir import DataDir

    ids = [f"sp0.9-{index // 300:04d}-{index // 30:06d}-{index:06d}" for index in range(3000)]
    speakers: dict[str, list[str]] = {}
    for utterance in ids:
        speakers.setdefault(utterance[:17], []).append(utterance)
    columns = {
        "wav.scp": lambda utterance: f"/data/LibriSpeech/train-clean-360/{utterance[6:17]}/{utterance}.flac",
        "text": lambda utterance: "a" * 180,
        "utt2spk": lambda utterance: utterance[:17],
        "utt2dur": lambda utterance: "12.30000",
        "utt2speed": lambda utterance: "0.9",
    }
    for name, column in columns.items():
        (tmp_path / name).write_text("".join(f"{utterance} {column(utterance)}\n" for utterance in ids))
    (tmp_path / "spk2utt").write_text(
        "".join(f"{key} {' '.join(value)}\n" for key, value in speakers.items())
    )
    DataDir.read(tmp_path)  # modules and caches are loaded before it counts
    tracemalloc.start()
    DataDir.read(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Assumptions().table_bytes == pytest.approx(peak / len(ids), rel=0.25)


# -- the plan -------------------------------------------------------------------------------------
def test_hours_follow_from_flops_peak_and_utilisation_by_hand():
    plan, gpu = Plan(960.0), GPUS["A100"]
    length = plan.length
    one = 6 * (12 * 24 * 1024**2 * length + 24 * 1024 * length**2 + 1024 * 56_259 * (length - 1))
    utterances = 3 * round(960 * 3600 / 12.3)
    assert plan.training_flops == one * utterances * 10
    parameters = 354_823_168 + 6002 * 1024
    steps = -(-utterances * 10 // 64)
    seconds = one * utterances * 10 / (8 * 312e12 * 0.35)
    seconds += steps * 2 * 7 / 8 * 4 * parameters / 300e9 + 10 * 16 * parameters / 1e9
    assert plan.stages(gpu, 8)[6].hours[1] == pytest.approx(seconds / 3600, rel=1e-12)


def test_costs_grow_with_the_corpus_and_fall_with_gpus_and_precision():
    plan, gpu = Plan(960.0), GPUS["H100"]
    one, eight = plan.stages(gpu, 1), plan.stages(gpu, 8)
    assert [cost.stage for cost in one] == list(range(1, 10))
    for before, after in zip(one, eight, strict=True):
        assert after.hours[0] <= before.hours[0] and before.hours[0] <= before.hours[1]
    assert eight[6].hours[0] > one[6].hours[0] / 8  # gradients are exchanged
    double = Plan(1920.0)
    assert double.units == pytest.approx(2 * plan.units)
    assert double.stages(gpu, 8)[2].hours == eight[2].hours  # k-means: the sample stays
    half = Plan(960.0, assume=Assumptions(extract_precision="bf16"))
    assert half.stages(gpu, 1)[3].hours[0] < one[3].hours[0]
    for cost in one:
        assert cost.gpu_memory < gpu.memory and cost.ram > 0


def test_speed_factors_stretch_the_hours():
    assert Plan(90.0, [1.0]).heard_hours == 90.0
    assert Plan(90.0).heard_hours == pytest.approx(90 / 0.9 + 90 + 90 / 1.1)
    assert Plan(90.0).utterances == 3 * Plan(90.0, [1.0]).utterances


# -- the document ---------------------------------------------------------------------------------
def test_the_document_is_what_the_command_prints(repo_root, capsys):
    main([])
    printed = capsys.readouterr().out
    assert (repo_root / "docs" / "hardware.md").read_text() == printed
    command = printed.split("`")[1]
    options = get_parser().parse_args(command.split()[3:])
    assert options == get_parser().parse_args([])


def test_the_document_says_what_it_is_and_where_every_input_comes_from(repo_root):
    text = (repo_root / "docs" / "hardware.md").read_text()
    assert "Expectations by formula, not measurements" in text
    for item in fields(Assumptions):
        assert item.metadata["source"] and f"`{item.name}`" in text
    for words in ("39.0 GFLOP", "saves 11 %", "354.8 M", "What changes at 60 000 h", "hours, 8 GPUs"):
        assert words in text


def test_the_document_agrees_with_the_librispeech_recipe(repo_root):
    recipe, assume = repo_root / "egs" / "librispeech" / "asr_sld", Assumptions()
    config = yaml.safe_load((recipe / "conf" / "train_sld_wavlm.yaml").read_text())
    assert (config["batch_bins"], config["max_epoch"]) == (assume.micro_batch_tokens, assume.epochs)
    assert 0.9 < assume.batch_utterances * Plan(960.0).length / (8 * assume.micro_batch_tokens) <= 1.0
    decode = yaml.safe_load((recipe / "conf" / "decode_greedy.yaml").read_text())
    assert decode["batch_tokens"] == assume.decode_batch_tokens
    words = (recipe / "run.sh").read_text().split()
    for option, value in (
        ("--nclusters", assume.clusters),
        ("--kmeans_hours", assume.kmeans_hours),
        ("--kmeans_max_frames", assume.kmeans_frames),
        ("--unit_nbpe", assume.unit_pieces),
    ):
        assert float(words[words.index(option) + 1]) == value
    assert words[words.index("--kmeans_feature") + 1] == f"wavlm_large/{assume.encoder_layer}"


def test_peaks_are_the_ones_that_training_divides_by():
    from espnet_sld.tasks.meters import PEAK_FLOPS

    for name, gpu in GPUS.items():
        assert PEAK_FLOPS[name] == (gpu.bf16, gpu.fp32)


def test_inputs_can_be_replaced_and_the_command_names_them():
    usual = render("960", "3", "8", "A100", [])
    other = render("960", "3", "8", "A100", ["network=1.25e9", "extract_precision=tf32"])
    assert "--assume network=1.25e9 extract_precision=tf32`" in other and "peak(tf32)" in other
    assert "What changes" not in usual and usual != other
    assert "| H200 " in render("960", "1", "2", "H200", [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("x", "3", "8", "A100", []), "--hours x"),
        (("960", "0", "8", "A100", []), "--speeds 0"),
        (("960", "3", "1.5", "A100", []), "--gpus 1.5"),
        (("960", "3", "8", "V100", []), "--gpu V100: must be of A100"),
        (("960", "3", "8", "A100", ["bandwith=1"]), "--assume bandwith: unknown"),
        (("960", "3", "8", "A100", ["epochs=2.5"]), "whole number"),
        (("960", "3", "8", "A100", ["network=fast"]), "positive number"),
        (("960", "3", "8", "A100", ["extract_precision=fp8"]), "precision fp8"),
    ],
)
def test_wrong_inputs_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        render(*options)


def test_numbers_are_rounded_to_what_the_inputs_allow():
    assert hours_words((1.806, 2.588)) == "1.8–2.6" and hours_words((0.0123, 0.0123)) == "0.012"
    assert hours_words((0.001, 0.002)) == "< 0.01"
    assert [two_digits(value) for value in (0.0999, 0.996, 9.96, 12_345)] == ["0.10", "1.0", "10", "12 000"]
    assert (big(843_723), big(5.2e8), gigabytes(1.44e9)) == ("840 000", "520 million", "1.4 GB")
    assert power(6.4e18) == "6.4·10¹⁸"
