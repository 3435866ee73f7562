"""Checkpoints of every format, and what is refused: code in pickles and strings, weights that do not fit."""

import argparse
import json
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from espnet_sld.errors import InputError
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.frontends.checkpoints import read_checkpoint
from espnet_sld.units.frontends.ssl_config import parse_conv_layers

FORMATS = [("wavlm", f) for f in ("s3prl", "microsoft", "transformers")]
FORMATS += [("hubert", f) for f in ("s3prl", "microsoft", "fairseq", "transformers")]


@pytest.fixture
def change(checkpoint, tmp_path):
    """A copy of a checkpoint file, with its content changed by a function."""

    def make(edit, model="wavlm", format="s3prl", kind="large"):
        content = torch.load(checkpoint(model, kind, format), weights_only=True)
        edit(content)
        torch.save(content, tmp_path / "changed.pt")
        return tmp_path / "changed.pt"

    return make


@pytest.fixture
def directory(checkpoint, tmp_path):
    """A copy of a Hugging Face directory, with its weights changed by a function."""

    def make(edit=None, model="hubert", kind="large"):
        copy = shutil.copytree(checkpoint(model, kind, "transformers"), tmp_path / "copy")
        weights = load_file(copy / "model.safetensors")
        save_file(edit(weights) if edit else weights, copy / "model.safetensors")
        return copy

    return make


@pytest.mark.parametrize("kind", ["large", "base"])
@pytest.mark.parametrize(("model", "format"), FORMATS)
def test_every_format_gives_the_same_features(checkpoint, utterances, model, format, kind):
    path = checkpoint(model, kind, format)
    expected = build_frontend(f"{checkpoint(model, kind, 's3prl')}/2").extract(utterances[:2])
    front_end = build_frontend(f"{path}/2")
    for one, other in zip(expected, front_end.extract(utterances[:2]), strict=True):
        np.testing.assert_array_equal(one, other)
    known_as = "microsoft" if (model, format) == ("wavlm", "s3prl") else format  # one format for WavLM
    assert front_end.provenance == {"source": str(path), "format": known_as}


def test_directories_with_heads_old_names_shards_and_bin_files_are_read(directory, checkpoint):
    described = build_frontend(f"{checkpoint('hubert')}/2").describe()
    old = {"original0": "weight_g", "original1": "weight_v"}

    def with_head(weights):
        names = {name: f"hubert.{name}" for name in weights}
        for new, before in old.items():
            name = f"encoder.pos_conv_embed.conv.parametrizations.weight.{new}"
            names[name] = f"hubert.encoder.pos_conv_embed.conv.{before}"
        return {names[k]: v for k, v in weights.items()} | {"lm_head.weight": torch.zeros(3, 32)}

    path = directory(with_head)
    assert build_frontend(f"{path}/2").describe() == described
    weights = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    torch.save(weights, path / "pytorch_model.bin")
    assert build_frontend(f"{path}/2").describe() == described
    (path / "pytorch_model.bin").unlink()
    names = sorted(weights)
    shards = {name: f"model-{1 + (i % 2)}.safetensors" for i, name in enumerate(names)}
    for shard in set(shards.values()):
        save_file({name: weights[name] for name in names if shards[name] == shard}, path / shard)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert build_frontend(f"{path}/2").describe() == described
    shards[names[0]] = "../elsewhere.safetensors"
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(InputError, match=r"not beside it: \.\./elsewhere"):
        build_frontend(f"{path}/2")


@pytest.mark.parametrize("backend", ["s3prl", "transformers"])
def test_missing_weights_are_named(change, directory, backend):
    path = change(lambda content: content["model"].pop("encoder.layers.1.fc2.bias"))
    with pytest.raises(InputError, match=r"changed\.pt: .*1 missing: encoder\.layers\.1\.fc2\.bias"):
        build_frontend(f"{path}/2", backend=backend)
    copy = directory(lambda w: {k: v for k, v in w.items() if "pos_conv_embed.conv.param" not in k})
    with pytest.raises(InputError, match=r"2 missing: encoder\.pos_conv\.0\.weight_g, .*weight_v"):
        build_frontend(f"{copy}/2", backend=backend)


def test_weights_above_the_layer_are_not_needed_but_the_relative_positions_are(change):
    path = change(lambda content: content["model"].pop("encoder.layers.2.fc2.bias"))
    assert build_frontend(f"{path}/2").dimension == 32
    name = "encoder.layers.0.self_attn.relative_attention_bias.weight"
    path = change(lambda content: content["model"].pop(name))
    with pytest.raises(InputError, match=r"1 missing: encoder\.layers\.0\.self_attn.relative_attention_bias"):
        build_frontend(f"{path}/1")


@pytest.mark.parametrize("backend", ["s3prl", "transformers"])
def test_weights_of_another_shape_are_named(change, backend):
    path = change(lambda content: content["model"].update({"layer_norm.bias": torch.zeros(5)}))
    message = r"1 of another shape: .*layer_norm\.bias \(5,\) instead of \(16,\)"
    with pytest.raises(InputError, match=message):
        build_frontend(f"{path}/1", backend=backend)


def test_weights_that_the_configuration_does_not_explain_are_named(change):
    extra = {"encoder.layers.1.adapter_layer.weight": torch.zeros(2)}
    path = change(lambda content: content["model"].update(extra))
    with pytest.raises(InputError, match=r"1 not expected: encoder\.layers\.1\.adapter_layer\.weight"):
        build_frontend(f"{path}/1")
    path = change(lambda content: content["cfg"].update(encoder_layers=2))
    with pytest.raises(InputError, match=r"2 blocks.* not expected: encoder\.layers\.2\."):
        build_frontend(f"{path}/1")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_not_run(change, tmp_path, zipped):
    path, trap = tmp_path / "evil.pt", tmp_path / "executed"
    content = {"cfg": {}, "model": Malicious(trap)}
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"evil\.pt: refused: .*run code when they are unpickled"):
        build_frontend(f"{path}/1")
    assert not trap.exists()


def test_a_checkpoint_as_fairseq_pickles_it_is_told_how_to_convert(change):
    path = change(lambda content: content.update(args=argparse.Namespace(arch="hubert")), model="hubert")
    with pytest.raises(InputError, match=r"Namespace.*s3prl\.upstream\.hubert\.convert"):
        build_frontend(f"{path}/1")


def test_strings_of_a_checkpoint_are_not_evaluated(change, tmp_path):
    code = f"__import__('os').mkdir('{tmp_path}/executed') or [(16,10,5)]"
    path = change(lambda content: content["cfg"].update(conv_feature_layers=code))
    with pytest.raises(InputError, match=r"conv_feature_layers .* is not a list of"):
        build_frontend(f"{path}/1")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2", 7),
        ("[(512, 10, 5)]", 1),
        ("[(8,3,2)]*2+[(8,2,2)]", 3),
    ],
)
def test_convolutions_are_read_as_fairseq_reads_them(text, layers):
    assert list(parse_conv_layers(text, "x")) == eval(text) and len(eval(text)) == layers


@pytest.mark.parametrize(
    "text", ["[(1,2)]", "(1,2,3)", "[(1,2,3)] * 1000", "[(1,2,3)", "[(1.5,2,3)]", "[(1,2,x)]", "3 * 4", ""]
)
def test_other_strings_are_no_convolutions(text):
    with pytest.raises(InputError, match="conv_feature_layers"):
        read = parse_conv_layers(text, "x")
        assert not any(type(number) is not int for layer in read for number in layer)
        raise AssertionError(read)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no checkpoint at all", "refused: it is no torch file"),
        (b"", "cannot be read as a torch file|no torch file"),
        ([1, 2], "holds a list"),
        ({"state": {}}, "holds state, which is no known checkpoint"),
        ({"cfg": 1, "model": {}}, "its 'cfg' is int, not a dictionary"),
        ({"cfg": {"model": {"_name": "wav2vec2"}, "task": {}}, "model": {}}, "a fairseq model 'wav2vec2'"),
        ({"cfg": {"encoder_layers": "12"}, "model": {}}, "encoder_layers 12 .* must be int"),
        ({"cfg": {"encoder_layers": 0}, "model": {}}, "not a positive whole number"),
        ({"cfg": {"extractor_mode": "x"}, "model": {}}, "extractor_mode x must be"),
        ({"cfg": {"layer_type": "conformer"}, "model": {}}, "layer_type conformer is not supported"),
        ({"cfg": {"activation_fn": "swish"}, "model": {}}, "activation swish"),
    ],
)
def test_other_files_are_input_errors_that_name_the_file(tmp_path, content, message):
    path = tmp_path / "some.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=rf"some\.pt: .*{message}"):
        build_frontend(f"{path}/1")


def test_a_file_that_was_cut_short_is_an_input_error(checkpoint, tmp_path):
    whole = checkpoint("wavlm").read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.pt: (refused: it is no|cannot be read as a) torch file"):
        build_frontend(f"{path}/1")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "wav2vec2"}, "model_type wav2vec2 is not one of hubert wavlm"),
        ({"conv_pos_batch_norm": True}, "conv_pos_batch_norm True is not supported"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm batch must be group or layer"),
        ({"conv_dim": [16]}, "must have one length"),
        ({"hidden_act": "gelu_new"}, "activation gelu_new"),
        ({"num_attention_heads": 5}, "5 heads must divide 32"),
    ],
)
def test_directories_of_other_architectures_are_input_errors(directory, changed, message):
    path = directory()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changed}))
    with pytest.raises(InputError, match=message):
        build_frontend(f"{path}/1")


def test_directories_that_are_not_whole_are_input_errors(directory):
    path = directory()
    (path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match=r"model\.safetensors: damaged"):
        build_frontend(f"{path}/1")
    (path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        build_frontend(f"{path}/1")
    (path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"no config\.json with a model_type"):
        build_frontend(f"{path}/1")
    (path / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        read_checkpoint(path)


def test_normalisation_is_what_the_checkpoint_says(change, directory, checkpoint):
    assert build_frontend(f"{checkpoint('hubert', 'large')}/1", normalise=True).normalise is True
    assert build_frontend(f"{checkpoint('hubert', 'base')}/1").normalise is False
    with pytest.raises(InputError, match="says normalise=true itself"):
        build_frontend(f"{checkpoint('hubert', 'large')}/1", normalise=False)
    silent = change(lambda content: content["cfg"].pop("normalize"))
    with pytest.raises(InputError, match="does not say whether utterances are normalised"):
        build_frontend(f"{silent}/1")
    assert build_frontend(f"{silent}/1", normalise=False).describe()["normalise"] is False
    with pytest.raises(InputError, match="normalise=1 must be true or false"):
        build_frontend(f"{silent}/1", normalise=1)
    path = directory(kind="base")
    preprocessor = path / "preprocessor_config.json"
    preprocessor.write_text(json.dumps({"do_normalize": True, "sampling_rate": 16000}))
    assert build_frontend(f"{path}/1").normalise is True
    preprocessor.unlink()  # then the norm of the convolutions tells
    assert build_frontend(f"{path}/1").normalise is False


def test_without_s3prl_the_alternative_is_named(checkpoint, monkeypatch, utterances):
    for name in [name for name in sys.modules if name.split(".")[0] == "s3prl"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "s3prl", None)
    with pytest.raises(InputError, match=r"espnet_sld\[s3prl\].*backend=transformers"):
        build_frontend(f"{checkpoint('wavlm')}/1")
    front_end = build_frontend(f"{checkpoint('wavlm')}/1", backend="transformers")
    assert front_end.extract(utterances[:1])[0].shape[1] == 32


def test_what_one_backend_cannot_do_is_sent_to_the_other(directory, change):
    path = directory()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    with pytest.raises(InputError, match="take backend=transformers"):
        build_frontend(f"{path}/1")
    assert build_frontend(f"{path}/1", backend="transformers").dimension == 32

    def without_gates(content):
        content["cfg"]["gru_rel_pos"] = False
        content["model"] = {k: v for k, v in content["model"].items() if ".grep_" not in k}

    path = change(without_gates)
    with pytest.raises(InputError, match="backend=s3prl"):
        build_frontend(f"{path}/1", backend="transformers")
    assert build_frontend(f"{path}/1").dimension == 32
