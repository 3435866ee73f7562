"""The interAED-KD loss against its equation in plain loops, and the ablation rows against their table."""

import math

import pytest
import torch
from torch.nn.functional import ctc_loss

from espnet_sld.criteria.alignment import forced_alignment
from espnet_sld.criteria.distillation import ROWS, DistillationCriterion, build_distillation
from espnet_sld.errors import InputError

V, K = 7, 3  # vocabulary, teacher's tokens
LENGTHS, TARGETS = [9, 6, 3], [[2, 3, 3, 1], [4, 1], [5, 5, 5]]  # the last one has no CTC path
WEIGHTS = {
    "ctc_weight": 0.3,
    "interctc_weight": 0.4,
    "interaed_weight": 0.7,
    "soft_label_weight": 0.2,
    "ctc_kd_weight": 0.6,
}


def batch(extra=0, dtype=torch.float64):
    """A model's outputs; the padding is long and loud with `extra`."""
    generator = torch.Generator().manual_seed(3)
    steps, width = max(LENGTHS), max(len(target) for target in TARGETS)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def padded(value, size, fill):
        more = value.new_full((len(value), extra, *value.shape[2:]), fill)
        value = torch.cat([value, more], 1)
        for row, length in enumerate(size):
            if extra:
                value[row, length:] = fill
        return value

    ends = [len(target) + 1 for target in TARGETS]
    rows = len(LENGTHS)
    frames = [padded(draw(rows, steps, V).log_softmax(-1), LENGTHS, 30.0).to(dtype) for _ in range(3)]
    logits = [padded(draw(rows, width + 1, V), ends, -40.0).to(dtype) for _ in range(3)]
    tokens = torch.full((rows, width), -1)
    for row, target in enumerate(TARGETS):
        tokens[row, : len(target)] = torch.tensor(target)
    # distinct teacher tokens, never blank
    ids = torch.stack([torch.randperm(V - 1, generator=generator)[:K] + 1 for _ in range(rows * width)]).view(
        rows, width, K
    )
    probs = draw(rows, width, K).softmax(-1).half()
    sizes = [len(target) for target in TARGETS]
    return {
        "lengths": torch.tensor(LENGTHS),
        "targets": padded(tokens, sizes, -1),
        "target_lengths": torch.tensor(sizes),
        "ctc": frames[0].requires_grad_(),
        "ctc_inter": {2: frames[1].requires_grad_(), 4: frames[2].requires_grad_()},
        "aed": logits[0].requires_grad_(),
        "aed_inter": {2: logits[1].requires_grad_(), 4: logits[2].requires_grad_()},
        "soft_ids": padded(ids, sizes, 0).int(),
        "soft_probs": padded(probs, sizes, 0.0),
    }


def leaves(data):
    return [data["ctc"], *data["ctc_inter"].values(), data["aed"], *data["aed_inter"].values()]


def loss_of(criterion, data):
    return criterion.total(criterion(**data), criterion.counts(data["targets"]))


def restated(data, lambda_, w, mu, beta, gamma):
    """The equation, utterance by utterance, token by token, with whole label vectors q."""
    total = torch.zeros((), dtype=torch.float64)

    def label(row, place):
        q = torch.zeros(V, dtype=torch.float64)
        q[TARGETS[row][place]] = 1 - beta
        b = data["soft_probs"][row, place].double()
        for identity, probability in zip(data["soft_ids"][row, place].tolist(), b / b.sum(), strict=True):
            q[identity] += beta * probability
        return q

    for row, target in enumerate(TARGETS):
        frames = LENGTHS[row]

        def ctc(log_probs, row=row, target=target, frames=frames):
            loss = ctc_loss(
                log_probs[row, :frames], torch.tensor(target), torch.tensor(frames),
                torch.tensor(len(target)), reduction="sum", zero_infinity=True,
            )  # fmt: skip
            return loss

        def aed(logits, row=row, target=target):
            log_p = logits[row].log_softmax(-1)
            loss = -log_p[len(target), V - 1]
            for place in range(len(target)):
                loss = loss - (label(row, place) * log_p[place]).sum()
            return loss

        def kd(log_probs, row=row, target=target, frames=frames):
            path = forced_alignment(
                log_probs[row : row + 1, :frames], torch.tensor([frames]), torch.tensor([target]),
                torch.tensor([len(target)]),
            ).frames[0].tolist()  # fmt: skip
            loss = torch.zeros((), dtype=torch.float64)
            for place, token in enumerate(target):
                own = [t for t in range(frames) if path[t] == place]
                if own:
                    peak = max(own, key=lambda t: log_probs[row, t, token].item())
                    loss = loss - (label(row, place) * log_probs[row, peak]).sum()
            return loss

        def mean(losses):
            return sum(losses) / len(losses)

        inner_ctc = mean([ctc(value) for value in data["ctc_inter"].values()])
        inner_aed = mean([aed(value) for value in data["aed_inter"].values()])
        frame_wise = (1 - gamma) * ((1 - w) * ctc(data["ctc"]) + w * inner_ctc) + gamma * kd(data["ctc"])
        total = total + lambda_ * frame_wise + (1 - lambda_) * ((1 - mu) * aed(data["aed"]) + mu * inner_aed)
    return total / len(TARGETS)


def compare(criterion, values):
    data = batch()
    mine, plain = loss_of(criterion, data), restated(data, *values)
    assert mine.item() == pytest.approx(plain.item(), rel=1e-6)  # probabilities are summed in float32
    found = torch.autograd.grad(mine, leaves(data), allow_unused=True)
    wanted = torch.autograd.grad(plain, leaves(data), allow_unused=True)
    for one, other in zip(found, wanted, strict=True):
        one = torch.zeros(()) if one is None else one
        assert torch.allclose(one.double(), torch.zeros(()).double() if other is None else other, atol=1e-6)


def test_all_weights_at_once_are_the_equation():
    compare(DistillationCriterion(vocabulary_size=V, **WEIGHTS), WEIGHTS.values())


# (λ, w, μ, β, γ); None where the row has no use for it
TABLE = {
    "ctc": (1, 0, None, None, 0),
    "interctc": (1, 0.5, None, None, 0),
    "aed": (0.5, 0.5, 0, 0, 0),
    "aed_kd": (0.5, 0.5, 0, 0.5, 0),
    "interaed": (0.5, 0.5, 0.5, 0, 0),
    "interaed_kd": (0.5, 0.5, 0.5, 0.5, 0),
    "ctc_kd": (1, 0.5, None, 0.5, 0.5),
}
NEEDED = {
    "ctc": {"ctc"},
    "interctc": {"ctc", "ctc_inter"},
    "aed": {"ctc", "ctc_inter", "aed"},
    "aed_kd": {"ctc", "ctc_inter", "aed"},
    "interaed": {"ctc", "ctc_inter", "aed", "aed_inter"},
    "interaed_kd": {"ctc", "ctc_inter", "aed", "aed_inter"},
    "ctc_kd": {"ctc", "ctc_inter", "ctc_kd"},
}


@pytest.mark.parametrize("row", TABLE)
def test_a_rows_name_gives_its_weights_and_loss(row):
    assert tuple(ROWS[row]) == TABLE[row]
    criterion = DistillationCriterion(vocabulary_size=V, row=row)
    compare(criterion, [value or 0.0 for value in TABLE[row]])
    explicit = dict(zip(WEIGHTS, [value or 0.0 for value in TABLE[row]], strict=True))
    by_hand = DistillationCriterion(vocabulary_size=V, row="interctc", **explicit)
    assert by_hand.weights == criterion.weights


def test_every_row_is_there_and_no_other():
    assert set(ROWS) == set(TABLE)


@pytest.mark.parametrize("row", TABLE)
def test_a_part_without_weight_is_neither_computed_nor_asked_for(row):
    criterion, data = DistillationCriterion(vocabulary_size=V, row=row), batch()
    assert set(criterion.weights) == NEEDED[row]
    assert criterion.needs_soft_labels == (row in {"aed_kd", "interaed_kd", "ctc_kd"})
    assert criterion.needs_intermediate_ctc == (row != "ctc")
    decoders = {
        "aed": ("last",),
        "aed_kd": ("last",),
        "interaed": (2, 4, "last"),
        "interaed_kd": (2, 4, "last"),
    }
    assert criterion.decoder_layers([2, 4]) == decoders.get(row, ())
    unused = {"ctc", "ctc_inter", "aed", "aed_inter"} - NEEDED[row]
    unused |= set() if criterion.needs_soft_labels else {"soft_ids", "soft_probs"}
    lean = {name: value for name, value in data.items() if name not in unused}
    assert set(criterion(**lean)) == NEEDED[row] | {"infeasible"}
    assert loss_of(criterion, lean) == loss_of(criterion, data)


@pytest.mark.parametrize("missing", ["ctc", "ctc_inter", "aed", "aed_inter", "soft_ids"])
def test_what_a_weight_needs_must_be_given(missing):
    data = batch()
    data.pop(missing)
    with pytest.raises(ValueError, match="soft labels" if missing == "soft_ids" else missing):
        DistillationCriterion(vocabulary_size=V)(**data)


@pytest.mark.parametrize("row", TABLE)
def test_padding_changes_neither_loss_nor_gradient(row):
    criterion = DistillationCriterion(vocabulary_size=V, row=row)
    short, long = batch(), batch(extra=3)
    losses = loss_of(criterion, short), loss_of(criterion, long)
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    for one, other in zip(
        torch.autograd.grad(losses[0], leaves(short), allow_unused=True),
        torch.autograd.grad(losses[1], leaves(long), allow_unused=True),
        strict=True,
    ):
        if one is not None:
            assert torch.allclose(one, other[:, : one.size(1)], atol=1e-6)
            assert not other[:, one.size(1) :].any()


def test_micro_batches_add_up():
    criterion, data = DistillationCriterion(vocabulary_size=V, **WEIGHTS), batch()
    whole = criterion(**data)

    def rows(value, part):
        return {key: item[part] for key, item in value.items()} if isinstance(value, dict) else value[part]

    parts = [
        criterion(**{name: rows(value, part) for name, value in data.items()})
        for part in (slice(0, 1), slice(1, 3))
    ]
    for name, part in whole.items():
        assert part.count_name == "utterances"
        assert part.sum.item() == pytest.approx(sum(piece[name].sum.item() for piece in parts), rel=1e-6)
    assert criterion.counts(data["targets"]) == {"utterances": 3}


def test_an_utterance_too_short_for_ctc_is_counted_and_teaches_the_decoder_alone():
    data = batch()
    criterion = DistillationCriterion(vocabulary_size=V, **WEIGHTS)
    assert criterion(**data)["infeasible"].sum == 1
    gradients = torch.autograd.grad(loss_of(criterion, data), leaves(data))
    assert all(math.isfinite(gradient.sum().item()) for gradient in gradients)
    assert not any(gradient[2].any() for gradient in gradients[:3])
    assert all(gradient[2].any() for gradient in gradients[3:])


def test_half_precision_inputs_are_summed_in_float32():
    parts = DistillationCriterion(vocabulary_size=V, **WEIGHTS)(**batch(dtype=torch.bfloat16))
    assert {part.sum.dtype for part in parts.values()} == {torch.float32}


def test_unknown_and_wrong_options_are_input_errors():
    with pytest.raises(InputError, match=r"ctc_wieght; known: ctc_kd_weight, ctc_weight"):
        build_distillation({"ctc_wieght": 0.5}, V)
    with pytest.raises(InputError, match="interaed_weight is from 0 to 1"):
        build_distillation({"interaed_weight": 1.5}, V)
    with pytest.raises(InputError, match="row is one of ctc, interctc"):
        build_distillation({"row": "interaed-kd"}, V)
    assert build_distillation({"row": "aed", "soft_label_weight": 0.25}, V).beta == 0.25
