"""From an experiment directory to text."""

import json

import numpy as np
import pytest
import torch
import yaml

from espnet_sld.bin.decode import read_options
from espnet_sld.errors import InputError
from espnet_sld.files import read_table, write_table
from espnet_sld.inference import LengthBound, decode_set, load_checkpoint
from espnet_sld.inference.set_decoding import read_durations
from espnet_sld.models.build import build_decoder_only
from espnet_sld.tokens.vocabulary import Vocabulary

WORDS = ["<blank>", "<unk>", "one", "two", "three", "<sos/eos>"]


@pytest.fixture
def experiment(tmp_path):
    """config.yaml and a checkpoint, as training leaves them."""
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("\n".join(WORDS) + "\n")
    conf = {
        "backbone_source": None,
        "backbone_conf": {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2,
                          "num_attention_heads": 2, "intermediate_size": 24, "tie_word_embeddings": True},
        "vocabulary": Vocabulary(text=6, speech=9).as_dict(),
        "speech_token_type": "unit", "speech_token_path": None, "num_clusters": 9,
        "text_token_type": "word", "text_token_path": str(tokens), "template": "asr_sld",
        "max_positions": 32, "max_text": 6, "dropout": 0.1, "residual_dropout": 0.1,
        "init_new_rows": "normal", "model_conf": {}, "criterion": "speech_text",
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(conf))
    torch.manual_seed(0)
    model = build_decoder_only(conf)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(5)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "3epoch.pth")
    return tmp_path, model.eval(), state


def samples(number=11):
    rng = np.random.default_rng(1)
    return [
        (f"utt{i:02d}", {"speech": "".join(chr(0x4E00 + c) for c in rng.integers(0, 9, rng.integers(1, 50)))})
        for i in range(number)
    ]


def test_a_checkpoint_loads_and_decodes_like_the_model_that_was_saved(experiment):
    directory, model, _ = experiment
    trained = load_checkpoint(directory / "3epoch.pth")
    assert not trained.model.training
    assert trained.model.pad_id == 0
    for key, value in model.state_dict().items():
        assert torch.equal(trained.model.state_dict()[key], value)
    parts = trained.tokenizers, trained.vocabulary, trained.template
    found = list(decode_set(trained.model, *parts, samples(), **trained.limits))
    assert [utterance for utterance, _, _ in found] == [utterance for utterance, _ in samples()]
    for utterance, text, hypothesis in found:
        assert set(text.split()) <= set(WORDS[1:5])
        assert 0 not in hypothesis.ids  # the pad and mask token is never written
        assert len(hypothesis.ids) <= 7
        alone = list(
            decode_set(trained.model, *parts, [(utterance, dict(samples())[utterance])], **trained.limits)
        )
        assert (alone[0][1], alone[0][2].ids) == (text, hypothesis.ids)
    in_windows = list(decode_set(trained.model, *parts, iter(samples()), window=3, **trained.limits))
    assert [row[:2] for row in in_windows] == [row[:2] for row in found]


def test_the_bound_limits_each_utterance(experiment):
    directory, _, _ = experiment
    trained = load_checkpoint(directory / "3epoch.pth")
    parts = trained.tokenizers, trained.vocabulary, trained.template
    bound = LengthBound(ratio=0.05, max_text=6, margin=1.0, constant=0)
    for (_, sample), (_, _, hypothesis) in zip(
        samples(), decode_set(trained.model, *parts, samples(), bound=bound, **trained.limits), strict=True
    ):
        assert len(hypothesis.ids) + (hypothesis.stopped == "end") <= bound(len(sample["speech"]))


def test_a_text_is_one_line_whatever_white_space_the_model_wrote(experiment, tmp_path):
    """GPT-2's tokens have line ends among them; in a Kaldi text file they would begin another utterance."""
    trained = load_checkpoint(experiment[0] / "3epoch.pth")
    text = trained.tokenizers["text"]
    white = ["\n", "  ", " \u2028", "\r\n"]
    text.decode = lambda ids: "".join(f"{white[i % 4]}{WORDS[token]}" for i, token in enumerate(ids))
    parts = {"speech": trained.tokenizers["speech"], "text": text}
    found = list(decode_set(trained.model, parts, trained.vocabulary, trained.template, samples(),
                            **trained.limits))  # fmt: skip
    assert any(len(hypothesis.ids) > 2 for _, _, hypothesis in found)
    for _, words, hypothesis in found:
        assert words == " ".join(WORDS[token] for token in hypothesis.ids)
    write_table(tmp_path / "text", {utterance: words for utterance, words, _ in found})
    assert read_table(tmp_path / "text", allow_empty_value=True) == {name: words for name, words, _ in found}


def test_seconds_that_are_no_number_are_named(tmp_path):
    (tmp_path / "utt2dur").write_text("utt1 1.5\nutt2 1.5s\n")
    with pytest.raises(InputError, match=r"utt2dur: seconds must be numbers .*'1.5s'"):
        read_durations(str(tmp_path / "utt2dur"), ["utt1"])


def test_an_utterance_without_units_is_named(experiment):
    trained = load_checkpoint(experiment[0] / "3epoch.pth")
    with pytest.raises(InputError, match="utt00x"):
        list(decode_set(trained.model, trained.tokenizers, trained.vocabulary, trained.template,
                        [("utt00x", {"speech": ""})], **trained.limits))  # fmt: skip


def test_a_whole_training_state_loads_too(experiment):
    directory, _, state = experiment
    torch.save({"model": state, "optimizers": [], "scaler": None}, directory / "checkpoint.pth")
    load_checkpoint(directory / "checkpoint.pth", directory / "config.yaml")


def test_damaged_and_foreign_files_are_named(experiment, tmp_path):
    directory, _, state = experiment
    with pytest.raises(InputError, match=r"9epoch.pth: no such checkpoint"):
        load_checkpoint(directory / "9epoch.pth")
    whole = (directory / "3epoch.pth").read_bytes()
    (directory / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.pth: damaged"):
        load_checkpoint(directory / "cut.pth")
    torch.save({"a": torch.zeros(1)}, directory / "foreign.pth")
    with pytest.raises(InputError, match=r"foreign.pth: has no parameters"):
        load_checkpoint(directory / "foreign.pth")
    torch.save({k: v for k, v in state.items() if "layers.1" not in k}, directory / "part.pth")
    with pytest.raises(InputError, match=r"part.pth does not fit .*config.yaml: missing"):
        load_checkpoint(directory / "part.pth")
    with pytest.raises(InputError, match=r"no such file; training"):
        load_checkpoint(directory / "3epoch.pth", directory / "no.yaml")
    (directory / "tokens.txt").write_text("\n".join([*WORDS[:3], WORDS[-1]]) + "\n")
    with pytest.raises(InputError, match="text tokenizer has 4 tokens"):
        load_checkpoint(directory / "3epoch.pth")
    (directory / "config.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not YAML"):
        load_checkpoint(directory / "3epoch.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("beam: 3", "unknown key beam"),
        ("beam_size: many", "beam_size must be a number like 1, not 'many'"),
        ("beam_size: 2.5", "beam_size must be a number"),
        ("- 3", "not a mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_a_bad_decoding_option_is_named(tmp_path, content, message):
    path = tmp_path / "decode.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_options(path)
    path.write_text("length_penalty: 1")
    assert read_options(path)["length_penalty"] == 1


def test_length_bound_follows_the_training_set(tmp_path):
    path = tmp_path / "length_stats.json"
    path.write_text(json.dumps({"max_text_per_speech": 0.4}))
    bound = LengthBound.from_file(path, 25, margin=1.5, constant=2)
    assert [bound(n) for n in (1, 10, 30, 1000)] == [1 + 2 + 1, 6 + 2 + 1, 18 + 2 + 1, 25 + 1]
    path.write_text("{}")
    with pytest.raises(InputError, match=r"length_stats.json"):
        LengthBound.from_file(path, 25)
    with pytest.raises(InputError, match="stage"):
        LengthBound.from_file(tmp_path / "none.json", 25)
