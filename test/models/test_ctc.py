"""The CTC recogniser: what training adds is gone at inference, and padding changes nothing."""

import pytest
import torch
from torch import nn

from espnet_sld.criteria.distillation import ROWS, DistillationCriterion
from espnet_sld.models.ctc import CtcRecogniser, Encoded, decoder_inputs

WIDTH, V, LAYERS = 8, 6, 3
TINY = {"num_blocks": 1, "attention_heads": 2, "linear_units": 8, "dropout_rate": 0.0}


class FrameEncoder(nn.Module):
    """Frame-wise blocks over every second frame; intermediate layers 1 and 2 of 3."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))

    def forward(self, x, lengths, condition=None):
        x, intermediates = x[:, ::2], {}
        for layer, block in enumerate(self.blocks, 1):
            x = block(x).tanh()
            if layer < LAYERS:
                intermediates[layer] = x
                x = x if condition is None else x + condition(x)
        return Encoded(x, (lengths + 1) // 2, intermediates)


def recogniser(seed=1, **options):
    torch.manual_seed(seed)
    return CtcRecogniser(FrameEncoder(), WIDTH, V, decoder_conf=TINY, **options).double()


def batch(extra=0):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 16, WIDTH, generator=generator, dtype=torch.float64)
    lengths, targets, sizes = (
        torch.tensor([16, 9]),
        torch.tensor([[1, 2, 4], [3, -1, -1]]),
        torch.tensor([3, 1]),
    )
    x[1, 9:] = 0
    if extra:
        x = torch.cat([x, torch.full((2, 2 * extra, WIDTH), 9.0, dtype=torch.float64)], 1)
        x[1, 9:] = 9.0
        targets = torch.cat([targets, torch.full((2, extra), -1)], 1)
    return x, lengths, targets, sizes


def decoders_of(row):
    return DistillationCriterion(vocabulary_size=V, row=row).decoder_layers([1, 2])


EVERY = (1, 2, "last")


@pytest.mark.parametrize("self_conditioning", [False, True])
def test_all_rows_infer_with_the_same_graph_from_the_same_start(self_conditioning):
    models = {
        row: recogniser(decoder_layers=decoders_of(row), self_conditioning=self_conditioning) for row in ROWS
    }
    assert {row: len(model.decoders) for row, model in models.items()} == {
        "ctc": 0, "interctc": 0, "aed": 1, "aed_kd": 1, "interaed": 3, "interaed_kd": 3, "ctc_kd": 0,
    }  # fmt: skip
    plain = models["ctc"].state_dict()
    for model in models.values():
        assert model.num_inference_parameters() == sum(value.numel() for value in plain.values())
        found = model.inference_state_dict()
        assert list(found) == list(plain)
        assert all(torch.equal(found[name], plain[name]) for name in plain)


@pytest.mark.parametrize("shared", [False, True])
def test_the_stripped_model_has_no_decoder_and_infers_the_same(shared):
    model = recogniser(decoder_layers=EVERY, shared_decoder=shared).eval()
    x, lengths, targets, sizes = batch()
    before, _ = model.logits(x, lengths)
    kept = model.inference_state_dict()
    assert any(name.startswith("decoders.") for name in model.state_dict())
    assert not any("decoder" in name for name in kept)
    stripped = model.strip()
    assert set(stripped.state_dict()) == set(kept)
    assert not any(isinstance(module, nn.TransformerDecoder) for module in stripped.modules())
    assert sum(p.numel() for p in stripped.parameters()) == stripped.num_inference_parameters()
    assert torch.equal(stripped.logits(x, lengths)[0], before)
    outputs = stripped(x, lengths, targets, sizes)
    assert outputs.aed is None and outputs.aed_inter == {}


def test_what_was_packed_loads_with_and_without_decoders():
    kept = recogniser(decoder_layers=EVERY).inference_state_dict()
    for options in ({}, {"decoder_layers": ("last",)}):
        other = recogniser(seed=5, **options)
        other.load_inference_state_dict(kept)
        assert all(torch.equal(value, kept[name]) for name, value in other.inference_state_dict().items())
    del kept["head.bias"]
    with pytest.raises(ValueError, match=r"head\.bias"):
        other.load_inference_state_dict(kept)


def test_one_decoder_is_shared_by_option():
    separate, shared = (recogniser(decoder_layers=EVERY, shared_decoder=share) for share in (False, True))
    size = {id(model): sum(p.numel() for p in model.decoders.parameters()) for model in (separate, shared)}
    assert size[id(separate)] == 3 * size[id(shared)]
    outputs = shared(*batch())
    assert set(outputs.aed_inter) == {1, 2} and outputs.aed.shape == (2, 4, V)


@pytest.mark.parametrize("self_conditioning", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_padding_and_company_change_no_loss_and_no_gradient(shared, self_conditioning):
    criterion = DistillationCriterion(vocabulary_size=V, row="interaed")
    gradients, losses = [], []
    for extra in (0, 3):
        model = recogniser(decoder_layers=EVERY, shared_decoder=shared, self_conditioning=self_conditioning)
        x, lengths, targets, sizes = batch(extra)
        outputs = model(x, lengths, targets, sizes)
        parts = criterion(**outputs._asdict(), targets=targets, target_lengths=sizes)
        loss = criterion.total(parts, criterion.counts(targets))
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-9)
    alone = [
        model(x[row : row + 1, :size], lengths[row : row + 1], targets[row : row + 1], sizes[row : row + 1])
        for row, size in enumerate(lengths.tolist())
    ]
    for row, one in enumerate(alone):
        steps, places = int(one.lengths), int(sizes[row]) + 1
        assert torch.allclose(outputs.ctc[row, :steps], one.ctc[0], atol=1e-12)
        assert torch.allclose(outputs.aed[row, :places], one.aed[0, :places], atol=1e-12)


def test_the_decoder_sees_no_token_that_it_must_predict():
    model = recogniser(decoder_layers=("last",))
    x, lengths, targets, sizes = batch()
    changed = targets.clone()
    changed[0, 1] = 3
    one, other = (model(x, lengths, tokens, sizes).aed for tokens in (targets, changed))
    assert torch.equal(one[0, :2], other[0, :2])
    assert not torch.allclose(one[0, 2:], other[0, 2:])


def test_decoder_inputs_start_and_pad_with_the_end_token():
    found = decoder_inputs(torch.tensor([[1, 2, 4], [3, -1, -1]]), torch.tensor([3, 1]), V - 1)
    assert found.tolist() == [[5, 1, 2, 4], [5, 3, 5, 5]]


def test_self_conditioning_feeds_the_posteriors_back():
    x, lengths, *_ = batch()
    model = recogniser(self_conditioning=True)
    encoded = model.encode(x, lengths)
    first = encoded.intermediates[1]
    posterior = (first @ model.head.weight.T + model.head.bias).softmax(-1)
    added = first + posterior @ model.conditioning.weight.T + model.conditioning.bias
    assert torch.allclose(model.encoder.blocks[1](added).tanh(), encoded.intermediates[2], atol=1e-12)


def test_a_decoder_on_a_layer_that_the_encoder_does_not_give_is_an_error():
    with pytest.raises(ValueError, match="layer 7; the encoder gives 1, 2"):
        recogniser(decoder_layers=(7,))(*batch())
    with pytest.raises(ValueError, match="'middle'"):
        recogniser(decoder_layers=("middle",))
