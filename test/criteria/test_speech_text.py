"""The fused objectives against plain float64 restatements of SYSTEMS' equations."""

import pytest
import torch
from torch.nn.functional import one_hot

from espnet_sld.criteria import (
    SpeechTextCriterion,
    fused,
    matched_smoothing,
    smoothed_label,
    speech_text_losses,
)

TEXT, SPEECH, WIDTH, PAD = 11, 7, 6, 1
OBJECTIVES = SpeechTextCriterion.objectives


def batch(seed=0, shapes=((6, 5), (3, 6), (5, 2), (1, 1)), extra=0, text=TEXT, speech=SPEECH, width=WIDTH):
    """Right-padded sequences speech · <speech_end> · text · <text_end>, hidden states, an output matrix."""
    generator = torch.Generator().manual_seed(seed)
    length = max(a + b + 2 for a, b in shapes) + extra
    tokens = torch.full((len(shapes), length), PAD)
    kinds = torch.zeros(len(shapes), length, dtype=torch.uint8)
    for row, (a, b) in enumerate(shapes):
        pieces = torch.randint(speech, (a,), generator=generator) + text + 2
        words = torch.randint(text, (b,), generator=generator)
        tokens[row, : a + b + 2] = torch.cat([pieces, torch.tensor([text + 1]), words, torch.tensor([text])])
        kinds[row, : a + 1] = 2
        kinds[row, a + 1 : a + b + 2] = 1
    hidden = torch.randn(len(shapes), length, width, generator=generator, dtype=torch.float64)
    matrix = torch.randn(text + 2 + speech, width, generator=generator, dtype=torch.float64)
    return hidden.requires_grad_(), matrix.requires_grad_(), tokens, kinds


def criterion(objective="sld", **options):
    options = {"text_vocabulary": TEXT, "speech_vocabulary": SPEECH, **options}
    return SpeechTextCriterion(objective=objective, **options)


SETTINGS = {"alpha": 0.3, "epsilon": 0.2, "temperature": 1.7, "speech_weight": 2.4, "smoothing_epsilon": 0.35}


def restated(hidden, matrix, tokens, kinds, objective, scope, reduction, joint):
    """Table 1's rows, position by position, with explicit one-hot labels."""
    alpha, epsilon, temperature, weight, smoothing = SETTINGS.values()
    logits = hidden @ matrix.T
    log_p = logits.log_softmax(-1)
    first = TEXT + 2
    ce_text, ce_speech, ce_smoothed, kl = [], [], [], []
    for row in range(len(tokens)):
        length = int((kinds[row] != 0).sum())
        for t in range(length):
            target = int(tokens[row, t + 1]) if t + 1 < length else None
            if target is not None:
                is_text = target <= TEXT
                loss = -(one_hot(torch.tensor(target), matrix.size(0)) * log_p[row, t]).sum()
                (ce_text if is_text else ce_speech).append(loss)
                if target == TEXT + 1:
                    ce_smoothed.append(loss)
                if target >= first:
                    uniform = torch.zeros(matrix.size(0), dtype=torch.float64)
                    chosen = slice(None) if joint else slice(first, None)
                    uniform[chosen] = 1.0 / uniform[chosen].numel()
                    onehot = one_hot(torch.tensor(target), matrix.size(0)).double()
                    label = (1 - smoothing) * onehot + smoothing * uniform
                    ce_smoothed.append(-(label * log_p[row, t]).sum())
            if scope == "released" or (target is not None and target >= first):
                onehot = torch.zeros(SPEECH, dtype=torch.float64)
                if target is not None:
                    onehot[max(target - first, 0)] = 1
                q = (((1 - epsilon) * onehot + epsilon / SPEECH) / temperature).softmax(-1)
                p = (logits[row, t, first:] / temperature).log_softmax(-1)
                kl.append(temperature**2 * (q * (q.log() - p)).sum())
    denominator = len(tokens) if reduction == "utterance" else len(kl)
    text, speech = torch.stack(ce_text).mean(), torch.stack(ce_speech).mean()
    smoothed, divergence = torch.stack(ce_smoothed).mean(), torch.stack(kl).sum() / denominator
    return {
        "none": text,
        "ce": text + speech,
        "label_smoothing": text + smoothed,
        "kl": text + alpha * divergence,
        "sld": text + speech + alpha * divergence,
        "matched": text + weight * smoothed,
        "ce_weighted": text + weight * speech,
    }[objective]


def loss_of(module, hidden, matrix, tokens, kinds, counts=None):
    return module.total(module(hidden, matrix, tokens, kinds), counts or module.counts(tokens, kinds))


@pytest.mark.parametrize("scope", ["speech", "released"])
@pytest.mark.parametrize("reduction", ["utterance", "token"])
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_and_its_gradient_equal_the_plain_restatement(objective, joint, reduction, scope):
    inputs = batch(extra=2)
    classes = "joint" if joint else "pieces"
    module = criterion(
        objective, kl_scope=scope, kl_reduction=reduction, smoothing_classes=classes, **SETTINGS
    )
    fused = loss_of(module, *inputs)
    plain = restated(*inputs, objective, scope, reduction, joint)
    torch.testing.assert_close(fused, plain, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(fused, inputs[:2]), torch.autograd.grad(plain, inputs[:2]), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["speech", "released"])
def test_gradient_passes_gradcheck(scope):
    hidden, matrix, tokens, kinds = batch(shapes=((3, 2), (1, 1)))
    module = criterion("sld", alpha=0.3, temperature=0.5, kl_scope=scope)
    assert torch.autograd.gradcheck(lambda h, w: loss_of(module, h, w, tokens, kinds), (hidden, matrix))


@pytest.mark.parametrize("temperature", [1.0, 0.3, 0.05, 0.01])
def test_closed_form_equals_one_hot_form_also_at_low_temperature(temperature):
    hidden, matrix, tokens, kinds = batch()
    module = criterion(temperature=temperature)
    parts, counts = module(hidden, matrix, tokens, kinds), module.counts(tokens, kinds)
    plain = speech_text_losses(hidden @ matrix.T, tokens.masked_fill(kinds == 0, -100), text_vocabulary=TEXT,
                               speech_vocabulary=SPEECH, temperature=temperature)  # fmt: skip
    for name in ("ce_text", "ce_speech", "kl"):
        count = counts[parts[name].count_name]
        torch.testing.assert_close(parts[name].sum / count, plain[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kept", [3, 7, 1000])  # rows of logits: the first chunk's, the first two's, all
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_chunks_change_neither_parts_nor_gradients(objective, kept, monkeypatch):
    hidden, matrix, tokens, kinds = batch()
    row = 8 * (TEXT + SPEECH + 2)
    whole, chunked = criterion(objective), criterion(objective, max_logits_bytes=kept * row)
    expected = whole(hidden, matrix, tokens, kinds)
    monkeypatch.setattr(fused, "CPU_CHUNK_BYTES", 3 * row)
    found = chunked(hidden, matrix, tokens, kinds)
    for name, part in expected.items():
        torch.testing.assert_close(found[name].sum, part.sum, rtol=1e-13, atol=1e-13)
    counts = whole.counts(tokens, kinds)
    torch.testing.assert_close(
        torch.autograd.grad(chunked.total(found, counts), (hidden, matrix)),
        torch.autograd.grad(whole.total(expected, counts), (hidden, matrix)),
        rtol=1e-12,
        atol=1e-13,
    )


@pytest.mark.parametrize("block", [None, 13, 16])
@pytest.mark.parametrize("scope", ["speech", "released"])
def test_padding_changes_no_part_and_no_count(scope, block):
    module = criterion(kl_scope=scope, max_positions=block)
    hidden, matrix, tokens, kinds = batch()
    assert tokens.size(1) == 13
    noise = torch.randn(len(tokens), 3, WIDTH, dtype=torch.float64)
    longer = torch.nn.functional.pad(tokens, (0, 3), value=PAD), torch.nn.functional.pad(kinds, (0, 3))
    short = module(hidden, matrix, tokens, kinds)
    padded = module(torch.cat([hidden, noise], 1), matrix, *longer)
    for name, part in short.items():
        torch.testing.assert_close(padded[name].sum, part.sum, rtol=1e-13, atol=1e-13)
    assert module.counts(*longer) == module.counts(tokens, kinds)
    one_by_one = [
        module(hidden[i : i + 1], matrix, tokens[i : i + 1], kinds[i : i + 1]) for i in range(len(tokens))
    ]
    for name, part in short.items():
        torch.testing.assert_close(
            sum(parts[name].sum for parts in one_by_one), part.sum, rtol=1e-12, atol=1e-12
        )


def test_released_scope_leaves_out_the_last_position_of_a_sequence_that_fills_the_block():
    hidden, matrix, tokens, kinds = batch(shapes=((6, 5),))
    labels = tokens.masked_fill(kinds == 0, -100)
    plain = {"text_vocabulary": TEXT, "speech_vocabulary": SPEECH, "kl_scope": "released"}
    full = speech_text_losses(hidden @ matrix.T, labels, **plain)["kl"]
    followed = speech_text_losses(
        torch.nn.functional.pad(hidden @ matrix.T, (0, 0, 0, 1)),
        torch.nn.functional.pad(labels, (0, 1), value=-100),
        **plain,
    )["kl"]
    assert followed > full
    for block, expected in ((13, full), (14, followed), (None, followed)):
        module = criterion(kl_scope="released", max_positions=block)
        torch.testing.assert_close(module(hidden, matrix, tokens, kinds)["kl"].sum, expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("scope", ["speech", "released"])
def test_micro_batches_with_global_counts_give_the_gradient_of_the_whole_batch(objective, scope):
    hidden, matrix, tokens, kinds = batch()
    module = criterion(objective, kl_scope=scope)
    counts = module.counts(tokens, kinds)
    whole = torch.autograd.grad(loss_of(module, hidden, matrix, tokens, kinds), matrix)[0]
    summed = torch.zeros_like(matrix)
    for rows in (slice(0, 1), slice(1, 3), slice(3, 4)):
        loss = loss_of(module, hidden[rows], matrix, tokens[rows], kinds[rows], counts)
        summed += torch.autograd.grad(loss, matrix)[0]
    torch.testing.assert_close(summed, whole, rtol=1e-12, atol=1e-13)
    tensors = {name: torch.tensor(float(count), dtype=torch.float64) for name, count in counts.items()}
    torch.testing.assert_close(
        loss_of(module, hidden, matrix, tokens, kinds, tensors),
        loss_of(module, hidden, matrix, tokens, kinds),
    )


def test_sld_gradient_is_that_of_matched_label_smoothing_at_a_large_vocabulary():
    speech, shapes = 6000, ((300, 10), (280, 12))
    hidden, matrix, tokens, kinds = batch(shapes=shapes, speech=speech, width=16)
    hidden = (hidden.detach() * 0.3).requires_grad_()
    kinds = kinds * (tokens != TEXT + 1)  # <speech_end> alone differs: in CE_speech, not in the KL
    sld = criterion("sld", speech_vocabulary=speech, alpha=0.008)
    counts = sld.counts(tokens, kinds)
    totals = {name: counts[name] for name in ("kl_targets", "utterances")}
    weight, smoothing = matched_smoothing(
        alpha=0.008, epsilon=0.1, temperature=1.0, speech_vocabulary=speech, **totals
    )
    matched = criterion(
        "matched", speech_vocabulary=speech, speech_weight=weight, smoothing_epsilon=smoothing
    )
    gradients = [
        torch.cat(
            [
                g.flatten()
                for g in torch.autograd.grad(loss_of(m, hidden, matrix, tokens, kinds), (hidden, matrix))
            ]
        )
        for m in (sld, matched)
    ]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9999
    assert abs(gradients[0].norm() / gradients[1].norm() - 1) < 0.002


def test_smoothed_label_is_the_softmax_of_eq_5():
    for size, epsilon, temperature in ((6000, 0.1, 1.0), (7, 0.3, 0.1), (50, 0.0, 2.0)):
        onehot = one_hot(torch.tensor(3), size).double()
        q = (((1 - epsilon) * onehot + epsilon / size) / temperature).softmax(-1)
        label = smoothed_label(size, epsilon, temperature)
        assert label.floor == pytest.approx(float(q[0]), rel=1e-12)
        assert label.excess + label.floor == pytest.approx(float(q[3]), rel=1e-12)
        assert label.negative_entropy == pytest.approx(float((q * q.log()).sum()), rel=1e-12)
    published = smoothed_label(6000, 0.1, 1.0)
    assert published.excess + published.floor == pytest.approx(4.10e-4, rel=1e-3)
    assert published.floor == pytest.approx(1.666e-4, rel=1e-3)


def test_unweighted_parts_are_logged_without_a_gradient():
    hidden, matrix, tokens, kinds = batch()
    module = criterion("none")
    parts = module(hidden, matrix, tokens, kinds)
    assert parts["ce_text"].sum.requires_grad
    assert not any(parts[name].sum.requires_grad for name in parts if name != "ce_text")
    full = criterion("sld")(hidden, matrix, tokens, kinds)
    for name, part in parts.items():
        torch.testing.assert_close(part.sum, full[name].sum.detach())
    quiet = criterion("none", log_unused=False)(hidden, matrix, tokens, kinds)
    assert set(quiet) == {"ce_text", "acc_text"}


def test_accuracies_count_targets_with_the_highest_logit():
    hidden, matrix, tokens, kinds = batch(seed=3)
    parts = criterion()(hidden, matrix, tokens, kinds)
    best = (hidden @ matrix.T)[:, :-1].argmax(-1)
    for name, kind in (("acc_text", 1), ("acc_speech", 2)):
        expected = ((best == tokens[:, 1:]) & (kinds[:, 1:] == kind)).sum()
        assert float(parts[name].sum) == int(expected)


def test_counts_take_numpy_a_single_sequence_and_empty_rows():
    _, _, tokens, kinds = batch()
    module = criterion()
    expected = {
        "text_targets": 6 + 7 + 3 + 2,
        "speech_targets": 6 + 3 + 5 + 1,
        "kl_targets": 5 + 2 + 4,
        "utterances": 4,
    }
    assert module.counts(tokens, kinds) == expected
    assert module.counts(tokens.numpy(), kinds.numpy()) == expected
    single = [module.counts(tokens[i].numpy(), kinds[i].numpy()) for i in range(4)]
    assert {name: sum(c[name] for c in single) for name in module.count_names} == expected
    empty = torch.full((1, 4), PAD), torch.zeros(1, 4, dtype=torch.uint8)
    assert set(module.counts(*empty).values()) == {0}


def test_a_batch_without_targets_has_loss_zero_and_zero_gradient():
    hidden, matrix, tokens, kinds = batch()
    loss = loss_of(criterion(), hidden, matrix, tokens, torch.zeros_like(kinds))
    assert float(loss.detach()) == 0
    assert all(not g.any() for g in torch.autograd.grad(loss, (hidden, matrix)))


def test_normalisers_are_float32_under_autocast():
    hidden, matrix, tokens, kinds = batch()
    hidden, matrix = hidden.detach().float().requires_grad_(), matrix.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = criterion()(hidden, matrix, tokens, kinds)
        loss = criterion().total(parts, criterion().counts(tokens, kinds))
    assert all(part.sum.dtype == torch.float32 for part in parts.values())
    exact = loss_of(criterion(), hidden, matrix, tokens, kinds)
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0.02)
    rounded, expected = torch.autograd.grad(loss, matrix)[0], torch.autograd.grad(exact, matrix)[0]
    assert rounded.dtype == torch.float32
    assert torch.cosine_similarity(rounded.flatten(), expected.flatten(), dim=0) > 0.999


def test_large_logits_stay_finite():
    hidden, matrix, tokens, kinds = batch()
    hidden = (hidden.detach() * 300).float().requires_grad_()
    loss = loss_of(criterion(temperature=0.1), hidden, matrix.detach().float(), tokens, kinds)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, hidden)[0].isfinite().all()
