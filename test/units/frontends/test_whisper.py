"""Whisper's encoder as a front-end: windows of 30 s, frames of the true length, any block."""

import shutil

import numpy as np
import pytest
import torch

from espnet_sld.errors import InputError
from espnet_sld.units.frontends import build_frontend

LAYERS = 3


@pytest.fixture(scope="module")
def whole(whisper_dir):
    """The long way: the library's own encoder with its feature extractor, 30 s at a time."""
    from transformers import WhisperFeatureExtractor, WhisperModel

    model = WhisperModel.from_pretrained(whisper_dir).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(whisper_dir)
    blocks = []
    model.encoder.layers[-1].register_forward_hook(lambda module, inputs, output: blocks.append(output))

    def encode(wave):
        mel = extractor(wave, sampling_rate=16000, return_tensors="pt")["input_features"]
        with torch.no_grad():
            output = model.encoder(mel, output_hidden_states=True)
        last = blocks.pop()
        last = last[0] if isinstance(last, tuple) else last
        states = [*output.hidden_states[:LAYERS], last, output.last_hidden_state]
        return [state[0].numpy() for state in states]

    return encode


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_layer_k_is_the_output_of_block_k_within_the_audio(whisper_dir, whole, utterances, layer):
    front_end = build_frontend(f"{whisper_dir}/{layer}")
    assert len(front_end.encoder.layers) == layer and front_end.name == f"whisper_tiny_{layer}"
    for wave, features in zip(utterances[:3], front_end.extract(utterances[:3]), strict=True):
        assert features.shape == (len(wave) // 320, 32)
        np.testing.assert_allclose(features, whole(wave)[layer][: len(features)], atol=1e-4)


def test_final_norm_is_an_option_of_the_last_layer(whisper_dir, whole, utterances):
    plain, normed = (build_frontend(f"{whisper_dir}/3", final_norm=norm) for norm in (False, True))
    features = normed.extract(utterances[:1])[0]
    np.testing.assert_allclose(features, whole(utterances[0])[-1][: len(features)], atol=1e-4)
    assert np.abs(features - plain.extract(utterances[:1])[0]).max() > 0.1
    assert plain.describe() != normed.describe()
    with pytest.raises(InputError, match="last layer, 3, not of 2"):
        build_frontend(f"{whisper_dir}/2", final_norm=True)


def test_longer_audio_goes_in_pieces_of_30_s(whisper_dir, whole, utterances):
    long = np.concatenate(utterances[:16])[: 35 * 16000 + 319]
    front_end = build_frontend(f"{whisper_dir}/2")
    features = front_end.extract([long])[0]
    assert len(features) == front_end.num_frames(len(long)) == 35 * 50
    np.testing.assert_allclose(features[:1500], whole(long[: 30 * 16000])[2], atol=1e-4)
    np.testing.assert_allclose(features[1500:], whole(long[30 * 16000 :])[2][:250], atol=1e-4)


@pytest.mark.parametrize("extra", [0, 1, 319, 320])
def test_a_last_piece_under_a_frame_gives_none(whisper_dir, extra):
    front_end = build_frontend(f"{whisper_dir}/1")
    samples = 30 * 16000 + extra
    wave = np.random.default_rng(0).normal(size=samples).astype("f4") * 0.1
    assert len(front_end.extract([wave])[0]) == front_end.num_frames(samples) == samples // 320


def check_batches(front_end, utterances, count_flips):
    alone = [front_end.extract([wave])[0] for wave in utterances]
    together = [
        f for start in range(0, len(utterances), 8) for f in front_end.extract(utterances[start:][:8])
    ]
    assert count_flips(alone, together) == 0


def test_batches_give_the_units_of_one_by_one(whisper_dir, utterances, count_flips):
    check_batches(build_frontend(f"{whisper_dir}/{LAYERS}"), utterances[:6], count_flips)


@pytest.mark.slow
def test_batches_give_the_units_of_one_by_one_on_200_utterances(whisper_dir, utterances, count_flips):
    check_batches(build_frontend(f"{whisper_dir}/1"), utterances, count_flips)


@pytest.mark.slow
def test_more_pieces_than_one_batch_come_back_in_order(whisper_dir, utterances):
    front_end = build_frontend(f"{whisper_dir}/1")
    waves = [wave[: 4000 + 640 * index] for index, wave in enumerate(utterances[:19])]
    together = front_end.extract(waves)
    for index in (0, 15, 16, 18):
        np.testing.assert_allclose(together[index], front_end.extract([waves[index]])[0], atol=1e-4)


def test_named_model_from_a_local_directory_and_wrong_requests(whisper_dir, checkpoint, tmp_path):
    front_end = build_frontend("whisper_large_v3/1", source=str(whisper_dir), backend="s3prl")
    assert front_end.name == "whisper_large_v3_1"
    assert front_end.describe() == build_frontend(f"{whisper_dir}/1").describe()
    with pytest.raises(InputError, match=r"layer 4 must be 1 … 3"):
        build_frontend(f"{whisper_dir}/4")
    with pytest.raises(InputError, match="159 samples are too short"):
        front_end.extract([np.zeros(159, "f4")])
    with pytest.raises(InputError, match="model_type wavlm, expected whisper"):
        build_frontend("whisper_tiny/1", source=str(checkpoint("wavlm", "base", "transformers")))
    with pytest.raises(InputError, match="from a Hugging Face directory, not from a file"):
        build_frontend("whisper_tiny/1", source=str(checkpoint("wavlm")))
    with pytest.raises(InputError, match="has no option normalise"):
        build_frontend("whisper_tiny/1", normalise=True)
    copy = shutil.copytree(whisper_dir, tmp_path / "copy")
    (copy / "preprocessor_config.json").write_text('{"feature_size": 128}')
    with pytest.raises(InputError, match="3000 frames of 128 bands, the encoder takes 3000 of 80"):
        build_frontend(f"{copy}/1")


def test_missing_weights_are_named(whisper_dir, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(whisper_dir, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    del weights["encoder.layers.0.fc1.weight"]
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(InputError, match=r"1 missing: layers\.0\.fc1\.weight"):
        build_frontend(f"{copy}/2")
