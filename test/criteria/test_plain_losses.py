"""The plain losses: worked cases of the released arithmetic."""

import json

import pytest
import torch

from espnet_sld.criteria import SpeechTextCriterion, speech_text_losses

# text 0-2, <text_end> 3, <speech_end> 4, pieces 5-8. All logits 0 except where set, so each number can be
# checked by hand: CE = log 9 - z_y + ..., KL of a smoothed label to uniform = log 4 + sum q' log q'.
SIZES = {"text_vocabulary": 3, "speech_vocabulary": 4}
LABELS = torch.tensor([[7, 5, 4, 2, 3]])


def test_uniform_logits_give_log_v_and_the_entropy_gap_of_eq_5():
    logits = torch.zeros(1, 5, 9, dtype=torch.float64)
    q = torch.tensor([0.925, 0.025, 0.025, 0.025], dtype=torch.float64).softmax(-1)
    gap = float((q * (q * 4).log()).sum())
    log9 = pytest.approx(2.1972245773362196)
    speech = speech_text_losses(logits, LABELS, **SIZES)
    assert (float(speech["ce_text"]), float(speech["ce_speech"])) == (log9, log9)
    assert float(speech["kl"]) == pytest.approx(gap)  # one target is a piece: the second
    released = speech_text_losses(logits, LABELS, **SIZES, kl_scope="released")
    assert float(released["kl"]) == pytest.approx(4 * gap)  # every position with a target
    followed = speech_text_losses(
        torch.zeros(1, 6, 9, dtype=torch.float64),
        torch.nn.functional.pad(LABELS, (0, 1), value=-100),
        **SIZES,
        kl_scope="released",
    )
    # the position after <text_end> has a uniform target: nothing to add at uniform logits
    assert float(followed["kl"]) == pytest.approx(4 * gap)
    token = speech_text_losses(logits, LABELS, **SIZES, kl_scope="released", kl_reduction="token")
    assert float(token["kl"]) == pytest.approx(gap)


def test_released_scope_clamps_text_to_piece_0_and_is_uniform_before_a_pad():
    logits = torch.zeros(1, 6, 9, dtype=torch.float64)
    logits[0, 3, 5] = 2.0  # predicts <text_end>: clamped to piece 0, so this logit helps
    logits[0, 4, 5] = 2.0  # input <text_end>, target a pad: uniform, so it hurts
    labels = torch.nn.functional.pad(LABELS, (0, 1), value=-100)
    q = torch.tensor([0.925, 0.025, 0.025, 0.025], dtype=torch.float64).softmax(-1)
    uniform = torch.full((4,), 0.25, dtype=torch.float64)
    log_p = torch.tensor([2.0, 0, 0, 0], dtype=torch.float64).log_softmax(-1)
    gap = (q * (q * 4).log()).sum()
    expected = 3 * gap + (q * (q.log() - log_p)).sum() + (uniform * (uniform.log() - log_p)).sum()
    found = speech_text_losses(logits, labels, **SIZES, kl_scope="released")["kl"]
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_the_shared_worked_case_of_the_released_code(repo_root):
    path = repo_root.parent / "shared" / "vectors" / "released_loss.json"
    if not path.exists():
        pytest.skip(f"no {path}; the worked cases above cover the same arithmetic")
    case = json.loads(path.read_text(encoding="utf-8"))
    names = ("text_vocabulary", "speech_vocabulary", "epsilon", "temperature")
    options = {name: case[name] for name in names} | {"kl_scope": "released"}
    labels = torch.tensor(case["labels"])
    for dtype, tolerance in ((torch.float64, 2e-7), (torch.float32, 1e-6)):
        logits = torch.tensor(case["logits"], dtype=dtype)
        losses = speech_text_losses(logits, labels, **options)
        for name, key in (("ce_text", "ce_text"), ("ce_speech", "ce_speech"), ("kl", "kl_released")):
            assert float(losses[name]) == pytest.approx(case[key], rel=tolerance)
        longer = speech_text_losses(
            torch.nn.functional.pad(logits, (0, 0, 0, 1)),
            torch.nn.functional.pad(labels, (0, 1), value=-100),
            **options,
        )
        assert float(longer["kl"]) == pytest.approx(24.677, abs=5e-4)
        # training sees the first row end before its block (or fill it: max_positions 12)
        tokens, kinds = (
            labels.clamp(min=0),
            ((labels >= 0) * 2 - (labels >= 0) * (labels < 12) * 1).to(torch.uint8),
        )
        eye = torch.eye(logits.size(-1), dtype=dtype)
        for block, expected in ((None, 24.677), (12, 23.714)):
            part = SpeechTextCriterion(**options, max_positions=block)(logits, eye, tokens, kinds)["kl"]
            assert float(part.sum) / 3 == pytest.approx(expected, abs=5e-4)


def test_refuses_unknown_options_and_wrong_sizes():
    logits = torch.zeros(1, 5, 9)
    with pytest.raises(ValueError, match="kl_scope"):
        speech_text_losses(logits, LABELS, **SIZES, kl_scope="all")
    with pytest.raises(ValueError, match="kl_reduction"):
        speech_text_losses(logits, LABELS, **SIZES, kl_reduction="batch")
    with pytest.raises(ValueError, match="9 classes"):
        speech_text_losses(logits, LABELS, text_vocabulary=4, speech_vocabulary=4)
