"""HuBERT and WavLM features: one result by two libraries; padding and truncation leave no trace."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm

from espnet_sld.errors import InputError
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.frontends.group_norm import UtteranceGroupNorm

MODELS = [("wavlm", "large"), ("wavlm", "base"), ("hubert", "large"), ("hubert", "base")]
BACKENDS = ["s3prl", "transformers"]
LAYERS = 3


def in_batches(front_end, waves, size=8):
    return [f for start in range(0, len(waves), size) for f in front_end.extract(waves[start : start + size])]


def one_by_one(front_end, waves):
    return [front_end.extract([wave])[0] for wave in waves]


def close(one, other, tolerance=1e-5):
    scale = np.concatenate(one).std()
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=tolerance * scale, rtol=tolerance)


@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_both_backends_give_the_same_units(checkpoint, utterances, count_flips, model, kind):
    s3prl, transformers = (
        in_batches(build_frontend(f"{checkpoint(model, kind)}/{LAYERS}", backend=backend), utterances[:32])
        for backend in BACKENDS
    )
    close(s3prl, transformers)
    assert count_flips(s3prl, transformers) == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_padded_batches_give_the_units_of_one_by_one(
    checkpoint, utterances, count_flips, model, kind, backend
):
    front_end = build_frontend(f"{checkpoint(model, kind)}/{LAYERS}", backend=backend)
    alone, together = one_by_one(front_end, utterances[:24]), in_batches(front_end, utterances[:24])
    close(alone, together, 1e-4)
    assert count_flips(alone, together) == 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_padded_batches_give_the_units_of_one_by_one_on_200_utterances(
    checkpoint, utterances, count_flips, model, kind, backend
):
    front_end = build_frontend(f"{checkpoint(model, kind)}/{LAYERS}", backend=backend)
    assert len(utterances) == 200
    assert count_flips(one_by_one(front_end, utterances), in_batches(front_end, utterances)) == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_without_the_mask_units_would_flip(checkpoint, utterances, count_flips, model, kind, backend):
    # what the tests above would see were padding taken for audio: they can fail
    front_end = build_frontend(f"{checkpoint(model, kind)}/{LAYERS}", backend=backend)
    waves = utterances[:8]
    alone, masked = one_by_one(front_end, waves), front_end.encoder
    front_end.encoder = lambda samples, lengths: masked(samples, [samples.shape[1]] * len(lengths))
    assert count_flips(alone, front_end.extract(waves)) > 0.05 * sum(map(len, alone))


def test_an_utterance_does_not_depend_on_the_order_or_on_much_longer_company(checkpoint, utterances):
    front_end = build_frontend(f"{checkpoint('hubert', 'base')}/2")
    short = [utterances[0][:400], utterances[1][:719], utterances[2][:720]]
    alone = one_by_one(front_end, short)
    assert [len(features) for features in alone] == [1, 1, 2]
    together = front_end.extract([utterances[3], *short])
    close(alone, together[1:], 1e-4)
    close(alone, front_end.extract([*short[::-1], utterances[3]])[2::-1], 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("model", "kind"), MODELS)
def test_layer_k_is_the_output_of_block_k_of_the_whole_model(checkpoint, utterances, model, kind, backend):
    """The long way: transformers' own model, whole, on each utterance alone."""
    from transformers import AutoModel

    whole = AutoModel.from_pretrained(checkpoint(model, kind, "transformers")).eval()
    last = []
    whole.encoder.layers[-1].register_forward_hook(lambda module, inputs, output: last.append(output))
    waves = [torch.from_numpy(wave) for wave in utterances[:4]]
    if kind == "large":
        waves = [layer_norm(wave, wave.shape) for wave in waves]
    states, final = [], []
    for wave in waves:
        with torch.no_grad():
            states.append(whole(wave[None], output_hidden_states=True).hidden_states)
        output = last.pop()
        final.append((output[0] if isinstance(output, tuple) else output)[0].numpy())
    for layer in range(1, LAYERS + 1):
        front_end = build_frontend(f"{checkpoint(model, kind)}/{layer}", backend=backend)
        assert len(front_end.encoder.model.encoder.layers) == layer
        expected = final if layer == LAYERS else [state[layer][0].numpy() for state in states]
        close(expected, in_batches(front_end, utterances[:4]), 1e-4)


@pytest.mark.parametrize("kind", ["large", "base"])
def test_features_are_those_of_s3prls_wavlm_expert(checkpoint, utterances, kind):
    expert_module = pytest.importorskip("s3prl.upstream.wavlm.expert")
    expert = expert_module.UpstreamExpert(str(checkpoint("wavlm", kind))).eval()
    for wave in utterances[:2]:
        with torch.no_grad():
            states = expert([torch.from_numpy(wave)])["hidden_states"]
        for layer in range(1, LAYERS):
            front_end = build_frontend(f"{checkpoint('wavlm', kind)}/{layer}")
            close([states[layer][0].numpy()], front_end.extract([wave]))


@pytest.mark.parametrize("kind", ["large", "base"])
def test_features_are_those_of_s3prls_whole_hubert(checkpoint, utterances, kind):
    module = pytest.importorskip("s3prl.upstream.hubert.hubert_model")
    content = torch.load(checkpoint("hubert", kind), weights_only=True)
    configs = []
    for name, cls in (("model_cfg", module.HubertConfig), ("task_cfg", module.HubertPretrainingConfig)):
        fields = cls.__dataclass_fields__
        configs.append(cls(**{key: value for key, value in content[name].items() if key in fields}))
    model = module.HubertModel(*configs, content["dictionaries_symbols"]).eval()
    model.load_state_dict(content["model_weight"], strict=True)
    wave = torch.from_numpy(utterances[0])
    wave = layer_norm(wave, wave.shape) if configs[1].normalize else wave
    for layer in range(1, LAYERS + 1):
        with torch.no_grad():
            expected = model.extract_features(wave[None], mask=False, output_layer=layer)[0][0].numpy()
        close([expected], build_frontend(f"{checkpoint('hubert', kind)}/{layer}").extract(utterances[:1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_number_of_frames_is_what_the_convolutions_give(checkpoint, backend):
    front_end = build_frontend(f"{checkpoint('hubert', 'large')}/1", backend=backend)
    extractor = front_end.encoder.model.feature_extractor
    for samples in [*range(400, 420), *range(700, 740), 1039, 1040, 1041, 16000, 16001, 35999, 36000, 36001]:
        with torch.no_grad():
            assert extractor(torch.zeros(1, samples)).shape[-1] == front_end.num_frames(samples)
        assert front_end.num_frames(samples) == (samples - 400) // 320 + 1
    assert front_end.num_frames(399) == front_end.num_frames(0) == 0
    assert (front_end.sample_rate, front_end.frame_shift, front_end.dimension) == (16000, 0.02, 32)


def test_the_mask_is_exact_where_s3prls_own_is_not(checkpoint):
    encoder = build_frontend(f"{checkpoint('wavlm', 'large')}/1").encoder
    theirs = type(encoder.model).forward_padding_mask
    lengths = torch.tensor([80000, 79999, 60001, 40079, 40080, 1000, 400])
    padding = torch.arange(80000) >= lengths[:, None]
    features = torch.zeros(len(lengths), encoder.config.num_frames(80000), 1)
    exact = (~encoder.model.forward_padding_mask(features, padding)).sum(dim=1)
    assert exact.tolist() == [(n - 400) // 320 + 1 for n in lengths.tolist()]
    assert (~theirs(encoder.model, features, padding)).sum(dim=1).tolist() != exact.tolist()


def test_group_norm_of_a_padded_utterance_is_that_of_it_alone_bit_for_bit():
    norm = torch.nn.GroupNorm(6, 6)
    torch.nn.init.normal_(norm.weight)
    masked = UtteranceGroupNorm(norm)
    frames, masked.lengths = torch.randn(3, 6, 50), [50, 31, 2]
    frames[1, :, 31:], frames[2, :, 2:] = 7.0, -7.0
    with torch.no_grad():
        result = masked(frames)
        for index, length in enumerate(masked.lengths):
            assert torch.equal(result[index, :, :length], norm(frames[index : index + 1, :, :length])[0])
            assert not result[index, :, length:].any()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_and_only_by_name(checkpoint, utterances, precision):
    name = f"{checkpoint('wavlm', 'large')}/{LAYERS}"
    full, half = build_frontend(name), build_frontend(name, precision=precision)
    assert (full.describe()["precision"], half.describe()["precision"]) == ("fp32", precision)
    for a, b in zip(full.extract(utterances[:2]), half.extract(utterances[:2]), strict=True):
        assert b.dtype == np.float32 and not np.array_equal(a, b)
        assert np.abs(a - b).mean() < 0.1 * a.std()


@pytest.mark.parametrize(("wanted", "kind"), [("fp32", "ieee"), ("bf16", "ieee")])
def test_fp32_turns_tf32_off_on_gpus_and_back_on(checkpoint, utterances, wanted, kind):
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, conv.fp32_precision
    front_end = build_frontend(f"{checkpoint('hubert', 'base')}/1", precision=wanted)
    seen = []
    encoder = front_end.encoder

    def spy(samples, lengths):
        seen.append((matmul.fp32_precision, conv.fp32_precision, torch.is_inference_mode_enabled()))
        return encoder(samples, lengths)

    front_end.encoder = spy
    front_end.extract(utterances[:1])
    assert seen == [(kind, kind, True)]
    assert (matmul.fp32_precision, conv.fp32_precision) == before


def test_description_decides_the_features_and_nothing_else(checkpoint):
    formats = ["s3prl", "microsoft", "fairseq", "transformers"]
    described = [build_frontend(f"{checkpoint('hubert', 'large', f)}/2").describe() for f in formats]
    assert all(one == described[0] for one in described)
    assert json.loads(json.dumps(described[0])) == described[0]
    assert described[0]["backend"] == "s3prl" and described[0]["layer"] == 2 and described[0]["normalise"]
    other = build_frontend(f"{checkpoint('hubert', 'large')}/3").describe()
    assert other["weights"] != described[0]["weights"]
    same = build_frontend(f"{checkpoint('hubert', 'large')}/2", backend="transformers").describe()
    assert same == {**described[0], "backend": "transformers"}


def test_changed_weights_change_the_description(checkpoint, small_ssl, tmp_path):
    other = small_ssl.make_hubert(tmp_path / "other.pt", "large", seed=1)
    one = build_frontend(f"{checkpoint('hubert', 'large')}/1").describe()
    assert build_frontend(f"{other}/1").describe()["weights"] != one["weights"]


def test_too_short_audio_is_an_input_error_and_no_audio_gives_nothing(checkpoint):
    front_end = build_frontend(f"{checkpoint('wavlm', 'base')}/1")
    assert front_end.extract([]) == []
    with pytest.raises(InputError, match="399 samples are too short"):
        front_end.extract([np.zeros(4000, "f4"), np.zeros(399, "f4")])


@pytest.mark.parametrize("backend", BACKENDS)
def test_digital_silence_is_finite(checkpoint, backend):
    for kind in ("large", "base"):
        front_end = build_frontend(f"{checkpoint('wavlm', kind)}/{LAYERS}", backend=backend)
        features = front_end.extract([np.zeros(8000, "f4"), np.zeros(4000, "f4")])
        assert all(np.isfinite(part).all() for part in features)
