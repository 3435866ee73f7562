"""ESPnet's encoders behind our protocol: its own results on one utterance, and the same in any company."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from espnet_sld.criteria.distillation import ROWS, build_distillation
from espnet_sld.errors import InputError
from espnet_sld.tasks.encoder_inputs import FbankInput, GlobalNormalisation
from espnet_sld.tasks.encoders import (
    ENCODERS,
    EspnetEncoder,
    build_encoder,
    build_recogniser,
    default_layers,
)

WIDTH, IN = 16, 20
SIZES = {
    "transformer": {"linear_units": 32},
    "conformer": {"linear_units": 32, "cnn_module_kernel": 7, "macaron_style": True},
    "e_branchformer": {"cgmlp_linear_units": 32, "cgmlp_conv_kernel": 7, "use_ffn": True, "linear_units": 32},
}
EVERY = sorted(ENCODERS)


def conf_of(name: str, **more) -> dict:
    common = {"output_size": WIDTH, "attention_heads": 2, "num_blocks": 3}
    common |= {"dropout_rate": 0.0, "positional_dropout_rate": 0.0}
    return {**common, **SIZES[name], **more}


def make(name: str, layers=(1, 2), **more) -> EspnetEncoder:
    torch.manual_seed(1)
    return EspnetEncoder(name, IN, conf_of(name, **more), layers).double().eval()


def recordings(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(len(lengths), max(lengths), IN, generator=generator, dtype=torch.float64)
    return x, torch.tensor(lengths)


@pytest.mark.parametrize("input_layer", ["linear", "conv2d"])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_one_utterance_gets_what_espnet_s_own_forward_gives(name, conditioned, input_layer) -> None:
    wrapped = make(name, input_layer=input_layer)
    x, lengths = recordings(33)
    head, back = (nn.Linear(*sizes).double() for sizes in ((WIDTH, 6), (6, WIDTH)))

    def condition(hidden: torch.Tensor) -> torch.Tensor:
        return back(head(hidden).softmax(-1))

    encoded = wrapped(x, lengths, condition if conditioned else None)
    espnet = wrapped.encoder
    espnet.interctc_use_conditioning, espnet.conditioning_layer = conditioned, back
    norm = espnet.after_norm if name == "e_branchformer" else nn.Identity()
    ctc = SimpleNamespace(softmax=lambda hidden: head(norm(hidden)).softmax(-1))
    (final, inner), frames, _ = espnet(x, lengths, ctc=ctc)
    assert torch.equal(encoded.final, final) and torch.equal(encoded.lengths, frames)
    assert list(encoded.intermediates) == [layer for layer, _ in inner] == [1, 2]
    for layer, hidden in inner:
        assert torch.equal(encoded.intermediates[layer], norm(hidden))
    plain = wrapped(x, lengths, None)
    assert torch.equal(plain.final, encoded.final) is not conditioned


@pytest.mark.parametrize("input_layer", ["conv2d", "conv2d6"])
@pytest.mark.parametrize("name", EVERY)
def test_company_and_padding_change_nothing(name, input_layer) -> None:
    wrapped = make(name, input_layer=input_layer)
    condition = nn.Linear(WIDTH, WIDTH).double()
    x, lengths = recordings(41, 30, 27, 26, 25, 11)
    together = wrapped(x, lengths, condition)
    x[3, 26:] = 1e3  # whatever stands in the padding
    assert torch.equal(wrapped(x, lengths, condition).lengths, wrapped.output_lengths(lengths))
    for row, size in enumerate(lengths.tolist()):
        alone = wrapped(x[row : row + 1, :size], lengths[row : row + 1], condition)
        frames = int(alone.lengths)
        assert frames == int(together.lengths[row]) == alone.final.size(1)
        assert torch.allclose(together.final[row, :frames], alone.final[0], atol=1e-12)
        for layer, hidden in alone.intermediates.items():
            assert torch.allclose(together.intermediates[layer][row, :frames], hidden[0], atol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_do_not_depend_on_how_utterances_are_batched(name) -> None:
    wrapped = make(name, input_layer="conv2d").train()
    x, lengths = recordings(41, 23)
    weights = torch.randn(41, WIDTH, dtype=torch.float64)

    def gradients(*batches) -> list[torch.Tensor]:
        wrapped.zero_grad()
        for rows, sizes in batches:
            encoded = wrapped(rows, sizes, None)
            for row, frames in enumerate(encoded.lengths.tolist()):
                (encoded.final[row, :frames] * weights[:frames]).sum().backward(retain_graph=True)
        return [parameter.grad.clone() for parameter in wrapped.parameters()]

    together = gradients((x, lengths))
    apart = gradients((x[:1], lengths[:1]), (x[1:, :23], lengths[1:]))
    assert all(torch.allclose(one, two, atol=1e-9) for one, two in zip(together, apart, strict=True))


def test_the_conformer_can_have_espnet_s_batch_norm() -> None:
    found = {
        norm: [type(module).__name__ for module in make("conformer", cnn_module_norm=norm).modules()]
        for norm in ("layer_norm", "batch_norm")
    }
    assert found["batch_norm"].count("BatchNorm1d") == found["layer_norm"].count("ChannelNorm") == 3
    assert "BatchNorm1d" not in found["layer_norm"]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"num_blokcs": 3}, "unknown option num_blokcs; known: output_size"),
        ({"input_size": 3}, "unknown option input_size"),
        ({"rel_pos_type": "legacy"}, "rel_pos_type=legacy is not supported"),
        ({"cnn_module_norm": "none"}, "must be layer_norm or batch_norm"),
        ({"num_blocks": "three"}, "encoder_conf of conformer: "),
        ({"num_blocks": 2}, "encoder_conf of conformer: "),
    ],
)
def test_a_bad_option_is_named(conf, message) -> None:
    with pytest.raises(InputError, match=message):
        EspnetEncoder("conformer", IN, {**conf_of("conformer"), **conf}, [1, 2])
    with pytest.raises(InputError, match="--encoder rnn: must be transformer"):
        EspnetEncoder("rnn", IN, {})


def test_intermediate_layers_are_every_third_block_by_default() -> None:
    assert default_layers("conformer", {"num_blocks": 9}) == [3, 6]
    assert default_layers("e_branchformer", {}) == [3, 6, 9]  # ESPnet's default has 12
    assert default_layers("transformer", {"num_blocks": 2}) == []


def whole(**more) -> dict:
    return {
        "input": "units",
        "unit_vocabulary": 9,
        "encoder": "conformer",
        "encoder_conf": conf_of("conformer"),
        "interctc_layers": [1, 2],
        "target_vocabulary": 7,
        "normalize": "utterance_mvn",
        **more,
    }


@pytest.mark.parametrize("subsampling", [1, 2, 4])
def test_units_of_any_number_are_encoded_as_in_any_company(subsampling) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(whole(unit_subsampling=subsampling)).double().eval()
    lengths = torch.tensor([13, 8, 5, 1])
    ids = torch.randint(0, 9, (4, 13))
    together = encoder(ids, lengths)
    assert together.lengths.tolist() == [-(-size // subsampling) for size in lengths.tolist()]
    assert torch.equal(encoder.output_lengths(lengths), together.lengths)
    for row, size in enumerate(lengths.tolist()):
        alone = encoder(ids[row : row + 1, :size], lengths[row : row + 1])
        frames = alone.final.size(1)
        assert torch.allclose(together.final[row, :frames], alone.final[0], atol=1e-12)


@pytest.mark.parametrize("normalize", ["utterance_mvn", "global_mvn", "none"])
def test_filterbanks_are_espnet_s_and_do_not_depend_on_company(normalize) -> None:
    from espnet2.asr.frontend.default import DefaultFrontend

    conf = {"fs": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 24}
    waves = 0.1 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4000, 3111, 1200])
    source = FbankInput(conf)
    together, frames = source.features(waves, lengths)
    assert frames.tolist() == source.output_lengths(lengths).tolist()
    for row, size in enumerate(lengths.tolist()):
        expected, count = DefaultFrontend(**conf)(waves[row : row + 1, :size], lengths[row : row + 1])
        assert int(count) == int(frames[row])
        assert torch.allclose(together[row, : int(count)], expected[0], atol=1e-4)
    torch.manual_seed(0)
    options = {"input": "fbank", "frontend_conf": conf, "normalize": normalize}
    encoder = build_encoder(whole(**options)).double().eval()
    if isinstance(encoder.normalize, GlobalNormalisation):
        encoder.normalize.set(torch.full((24,), -5.0), torch.full((24,), 2.0))
    found = encoder(waves.double(), lengths)
    assert torch.equal(encoder.output_lengths(lengths), found.lengths)
    for row, size in enumerate(lengths.tolist()):
        alone = encoder(waves[row : row + 1, :size].double(), lengths[row : row + 1])
        assert torch.allclose(found.final[row, : alone.final.size(1)], alone.final[0], atol=1e-9)


def test_specaugment_is_for_training_alone() -> None:
    conf = {"apply_time_warp": False, "time_mask_width_range": [1, 4], "freq_mask_width_range": [0, 4]}
    encoder = build_encoder(whole(specaug="specaug", specaug_conf=conf))
    ids, lengths = torch.randint(0, 9, (2, 12)), torch.tensor([12, 9])
    assert not torch.equal(encoder(ids, lengths).final, encoder(ids, lengths).final)
    encoder.eval()
    assert torch.equal(encoder(ids, lengths).final, encoder(ids, lengths).final)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("self_conditioning", [False, True])
def test_all_rows_infer_with_one_graph_from_one_start(name, self_conditioning) -> None:
    conf = whole(encoder=name, encoder_conf=conf_of(name), self_conditioning=self_conditioning)
    conf["decoder_conf"] = {"num_blocks": 1, "attention_heads": 2, "linear_units": 8}
    sizes, starts = {}, {}
    for row in ROWS:
        torch.manual_seed(4)
        model = build_recogniser(conf, build_distillation({"row": row}, 7).decoder_layers([1, 2]))
        starts[row], sizes[row] = model.inference_state_dict(), model.num_inference_parameters()
        assert sum(p.numel() for p in model.strip().parameters()) == sizes[row]
    assert len(set(sizes.values())) == 1
    for start in starts.values():
        assert list(start) == list(starts["ctc"])
        assert all(torch.equal(start[key], value) for key, value in starts["ctc"].items())
