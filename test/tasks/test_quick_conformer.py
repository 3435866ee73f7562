"""The Conformer's short way in inference against ESPnet's own forward."""

import copy

import pytest
import torch
from torch import nn

from espnet_sld.tasks.encoders import EspnetEncoder, build_encoder, build_recogniser

WIDTH, IN = 16, 20
SIZES = {"output_size": WIDTH, "attention_heads": 2, "num_blocks": 3, "dropout_rate": 0.1}
FORMS = {
    "recipes": {"linear_units": 32, "cnn_module_kernel": 7},
    "macaron": {"linear_units": 32, "cnn_module_kernel": 5, "macaron_style": True},
    "no convolution": {"linear_units": 32, "use_cnn_module": False},
    "batch norm": {"linear_units": 32, "cnn_module_kernel": 7, "cnn_module_norm": "batch_norm"},
    "relu": {"linear_units": 32, "cnn_module_kernel": 7, "activation_type": "relu"},
}


def make(conf=None, dtype=torch.float64, name="conformer") -> EspnetEncoder:
    """In eval mode; every parameter and statistic has a random value, so that none can be left out."""
    torch.manual_seed(1)
    encoder = EspnetEncoder(name, IN, {**SIZES, **(conf or FORMS["recipes"])}, (1, 2)).eval()
    for value in encoder.state_dict().values():
        if value.is_floating_point():
            value += 0.1 * torch.rand_like(value)
    return encoder.to(dtype)


def recordings(*lengths, dtype=torch.float64):
    x = torch.randn(len(lengths), max(lengths), IN, generator=torch.Generator().manual_seed(2))
    return x.to(dtype), torch.tensor(lengths)


def both_ways(encoder, x, lengths, condition=None):
    """(long, short), without autograd."""
    found = []
    for short in (False, True):
        encoder.shortcuts = short
        with torch.no_grad():
            found.append(encoder(x, lengths, condition))
        assert (encoder._quick is not None) is short
    return found


def same(long, short, tolerance) -> bool:
    """Equal within it in all real frames of all outputs."""
    assert torch.equal(long.lengths, short.lengths)
    assert list(long.intermediates) == list(short.intermediates) == [1, 2]
    pairs = [(long.final, short.final)]
    pairs += [(long.intermediates[layer], short.intermediates[layer]) for layer in (1, 2)]
    rows = [(one[row, :size], two[row, :size]) for one, two in pairs for row, size in enumerate(long.lengths)]
    return all(torch.allclose(one, two, rtol=tolerance, atol=tolerance) for one, two in rows)


@pytest.mark.parametrize("input_layer", ["linear", "conv2d"])
@pytest.mark.parametrize("form", FORMS)
def test_the_short_way_gives_espnet_s_results_alone_and_in_company(form, input_layer) -> None:
    encoder = make({**FORMS[form], "input_layer": input_layer})
    back = nn.Linear(WIDTH, WIDTH).double()
    for lengths in ((33,), (21, 21), (41, 30, 17)):
        for condition in (None, back):
            assert same(*both_ways(encoder, *recordings(*lengths), condition), 1e-11)
            encoder.train().eval()


def test_in_single_precision_it_differs_by_rounding_alone() -> None:
    encoder = make(dtype=torch.float32)
    x, lengths = recordings(40, 23, 7, dtype=torch.float32)
    assert same(*both_ways(encoder, x, lengths), 2e-5)


def test_training_and_gradients_take_the_long_way() -> None:
    encoder = make()
    encoder.shortcuts = True
    x, lengths = recordings(12)
    encoder(x, lengths).final.sum().backward()
    assert encoder._quick is None
    assert all(parameter.grad is not None for parameter in encoder.encoder.encoders.parameters())
    with torch.no_grad():
        encoder.train()(x, lengths)
    assert encoder._quick is None


@pytest.mark.parametrize("change", ["load", "train", "cast", "copy"])
def test_changed_parameters_are_never_missed(change) -> None:
    encoder, other = make(), make()
    for parameter in other.parameters():
        parameter.data.mul_(1.5)
    x, lengths = recordings(19, 12)
    both_ways(encoder, x, lengths)
    tolerance = 1e-11
    if change == "load":
        encoder.load_state_dict(other.state_dict())
    elif change == "train":
        encoder.train()
        for mine, value in zip(encoder.parameters(), other.parameters(), strict=True):
            mine.data.copy_(value.data)
        encoder.eval()
    elif change == "cast":
        encoder.float()
        x, tolerance = x.float(), 2e-5
    else:  # a copy goes its own way
        kept, encoder = encoder, copy.deepcopy(encoder)
        assert encoder._quick is None and kept._quick is not None
        for mine, value in zip(encoder.parameters(), other.parameters(), strict=True):
            mine.data.copy_(value.data)
    encoder.shortcuts = True
    with torch.no_grad():
        short = encoder(x, lengths)
    encoder.shortcuts = False
    with torch.no_grad():
        assert same(encoder(x, lengths), short, tolerance)


def whole(**more) -> dict:
    conf = {"input": "units", "unit_vocabulary": 9, "encoder": "conformer", "target_vocabulary": 7}
    return {**conf, "encoder_conf": {**SIZES, **FORMS["recipes"]}, "interctc_layers": [1, 2], **more}


def test_a_model_that_is_stripped_for_inference_takes_it_and_keeps_its_parameters() -> None:
    torch.manual_seed(0)
    model = build_recogniser(whole(self_conditioning=True), ["last"]).eval()
    ids, lengths = torch.randint(0, 9, (3, 25)), torch.tensor([25, 18, 6])
    with torch.no_grad():
        before, _ = model.logits(ids, lengths)
        assert model.encoder.encoder._quick is None
        kept = model.inference_state_dict()
        after, frames = model.strip().logits(ids, lengths)
    assert model.encoder.encoder._quick is not None
    assert list(model.state_dict()) == list(kept)
    for row, size in enumerate(frames.tolist()):
        assert torch.allclose(before[row, :size], after[row, :size], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "conf"),
    [
        ("transformer", {"linear_units": 32}),
        ("e_branchformer", {"cgmlp_linear_units": 32, "cgmlp_conv_kernel": 7}),
        ("conformer", {"pos_enc_layer_type": "abs_pos", "selfattention_layer_type": "selfattn"}),
        ("conformer", {"positionwise_layer_type": "conv1d", "linear_units": 32}),
        ("conformer", {"concat_after": True}),
        ("conformer", {"zero_triu": True}),
    ],
)
def test_what_it_does_not_cover_keeps_espnet_s_forward(name, conf) -> None:
    encoder = build_encoder(whole(encoder=name, encoder_conf={**SIZES, **conf})).eval()
    ids, lengths = torch.randint(0, 9, (2, 14)), torch.tensor([14, 9])
    with torch.no_grad():
        before = encoder(ids, lengths)
        encoder.take_shortcuts()
        assert torch.equal(encoder(ids, lengths).final, before.final)
    assert not encoder.encoder.shortcuts and encoder.encoder._quick is None
