"""DMLM's loss against a plain float64 restatement, in every normalisation and however the step is cut."""

import pytest
import torch

from espnet_sld.criteria import ModalityCriterion, SpeechTextCriterion, build_criterion
from espnet_sld.errors import InputError

TEXT, SPEECH, IMAGES, WIDTH = 9, 7, 5, 6
SIZE = TEXT + 2 + SPEECH + IMAGES + 4  # four more special tokens
LAMBDA = {1: 0.93, 2: 0.25, 3: 0.4}
RANGES = {1: (0, TEXT), 2: (TEXT + 2, TEXT + 2 + SPEECH), 3: (TEXT + 2 + SPEECH, TEXT + 2 + SPEECH + IMAGES)}
ENDS = {1: TEXT, 2: TEXT + 1, 3: SIZE - 4}
MIXED = ((2, 5, 1, 3), (1, 2, 2, 4), (3, 4, 1, 2), (0, 0, 1, 3), (0, 0, 2, 1), (0, 0, 3, 4), (1, 3, 1, 2))


def batch(shapes=MIXED, seed=0, pads=0):
    """Rows start · condition · generate · target · end, as (kind, length, kind, length); kind 0: none."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for first, number, last, count in shapes:
        tokens, kinds = ([], []) if not first else ([SIZE - 3], [0])
        for kind, length in ((first, number), (last, count)):
            if kind == last and length == count:
                tokens, kinds = [*tokens, SIZE - 2], [*kinds, 0]
            if kind:
                tokens += torch.randint(*RANGES[kind], (length,), generator=generator).tolist()
                kinds += [kind] * length
        rows.append((torch.tensor([*tokens, ENDS[last]]), torch.tensor([*kinds, last], dtype=torch.uint8)))
    width = max(len(tokens) for tokens, _ in rows) + pads
    tokens, kinds = (
        torch.ones(len(rows), width, dtype=torch.long),
        torch.zeros(len(rows), width, dtype=torch.uint8),
    )
    for row, (ids, codes) in enumerate(rows):
        tokens[row, : len(ids)], kinds[row, : len(ids)] = ids, codes
    hidden = torch.randn(len(rows), width, WIDTH, generator=generator, dtype=torch.float64)
    matrix = torch.randn(SIZE, WIDTH, generator=generator, dtype=torch.float64)
    return hidden.requires_grad_(), matrix.requires_grad_(), tokens, kinds


def criterion(**options):
    options = {
        "text_vocabulary": TEXT,
        "speech_vocabulary": SPEECH,
        "image_vocabulary": IMAGES,
        "lambda_image": LAMBDA[3],
        **options,
    }
    return ModalityCriterion(**options)


def restated(hidden, matrix, tokens, kinds, normalisation):
    """The equation, target by target."""
    log_p = (hidden @ matrix.T).log_softmax(-1)
    losses = {(b, m): [] for b in range(len(tokens)) for m in LAMBDA}
    for b in range(len(tokens)):
        for t in range(tokens.size(1) - 1):
            if m := int(kinds[b, t + 1]):
                losses[b, m].append(-log_p[b, t, tokens[b, t + 1]])
    total = 0.0
    everything = sum(len(found) for found in losses.values())
    for m, factor in LAMBDA.items():
        own = [losses[b, m] for b in range(len(tokens))]
        if normalisation == "sequence":
            total += factor * sum(sum(found) / len(found) for found in own if found) / len(tokens)
            continue
        number = sum(map(len, own)) if normalisation == "batch" else everything
        if number:  # a modality that is missing adds nothing
            total += factor / number * sum(map(sum, own))
    return total


def loss_of(module, hidden, matrix, tokens, kinds, counts=None):
    return module.total(module(hidden, matrix, tokens, kinds), counts or module.counts(tokens, kinds))


@pytest.mark.parametrize("normalisation", ModalityCriterion.normalisations)
@pytest.mark.parametrize("missing", [None, 1, 2, 3])
def test_loss_and_gradient_equal_the_equation_also_where_a_modality_is_missing(normalisation, missing):
    shapes = [shape for shape in MIXED if missing not in (shape[0], shape[2])]
    inputs = batch(shapes, pads=2)
    module = criterion(normalisation=normalisation)
    found, plain = loss_of(module, *inputs), restated(*inputs, normalisation)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs[:2]), torch.autograd.grad(plain, inputs[:2]), rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize("normalisation", ModalityCriterion.normalisations)
def test_a_step_cut_into_micro_batches_has_the_whole_steps_loss(normalisation):
    hidden, matrix, tokens, kinds = batch()
    module = criterion(normalisation=normalisation, speech_objective="sld", alpha=0.3)
    whole = loss_of(module, hidden, matrix, tokens, kinds)
    counts = dict.fromkeys(module.count_names, 0)
    pieces = [[0, 3], [1], [2, 5, 4], [6]]  # the second has no image, the last no speech of its own
    for rows in pieces:
        for name, count in module.counts(tokens[rows], kinds[rows]).items():
            counts[name] += count
    assert counts == module.counts(tokens, kinds)
    added = sum(loss_of(module, hidden[rows], matrix, tokens[rows], kinds[rows], counts) for rows in pieces)
    torch.testing.assert_close(added, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(added, (hidden, matrix), retain_graph=True),
        torch.autograd.grad(whole, (hidden, matrix)),
        rtol=1e-11,
        atol=1e-13,
    )


def test_counts_are_of_targets_by_modality_conditions_included():
    _, _, tokens, kinds = batch()
    counts = criterion().counts(tokens, kinds)
    expected = {code: int((kinds[:, 1:] == code).sum()) for code in LAMBDA}
    assert [counts[f"{name}_targets"] for name in ("text", "speech", "image")] == list(expected.values())
    assert counts["targets"] == sum(expected.values())
    assert counts["sequences"] == len(MIXED)
    assert counts["speech_sequences"] == sum(2 in (first, last) for first, _, last, _ in MIXED)


@pytest.mark.parametrize("objective", SpeechTextCriterion.objectives)
def test_with_lambdas_of_one_slds_sequences_have_slds_loss_bit_for_bit(objective):
    generator = torch.Generator().manual_seed(1)
    pieces, words = (
        torch.randint(SPEECH, (3, 6), generator=generator),
        torch.randint(TEXT, (3, 4), generator=generator),
    )
    tokens = torch.cat([pieces + TEXT + 2, torch.full((3, 1), TEXT + 1), words, torch.full((3, 1), TEXT)], 1)
    kinds = torch.tensor([[2] * 7 + [1] * 5] * 3, dtype=torch.uint8)
    hidden = torch.randn(3, 12, WIDTH, generator=generator).requires_grad_()
    matrix = torch.randn(TEXT + 2 + SPEECH, WIDTH, generator=generator).requires_grad_()
    common = {"text_vocabulary": TEXT, "speech_vocabulary": SPEECH, "speech_weight": 1.7}
    sld = SpeechTextCriterion(**common, objective=objective)
    dmlm = ModalityCriterion(**common, speech_objective=objective, lambda_text=1.0, lambda_speech=1.0)
    results = []
    for module in (sld, dmlm):
        loss = loss_of(module, hidden, matrix, tokens, kinds)
        results.append((loss, *torch.autograd.grad(loss, (hidden, matrix))))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_logits_in_chunks_change_nothing():
    inputs = batch()
    small = criterion(max_logits_bytes=3 * 8 * SIZE)
    torch.testing.assert_close(loss_of(small, *inputs), loss_of(criterion(), *inputs), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "conf",
    [{"normalisation": "token"}, {"lambda_text": -1}, {"speech_objective": "slt"}, {"objective": "sld"}],
)
def test_a_refused_value_is_an_input_error(conf):
    context = {
        "text_vocabulary": TEXT,
        "speech_vocabulary": SPEECH,
        "image_vocabulary": 0,
        "max_positions": 9,
    }
    build_criterion("modality", {}, **context)
    with pytest.raises(InputError, match=next(iter(conf)).split("_")[0]):
        build_criterion("modality", conf, **context)
