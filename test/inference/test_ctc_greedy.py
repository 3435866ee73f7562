"""Greedy CTC of a batch against a plain loop over one utterance."""

import pytest
import torch
from torch import nn

from espnet_sld.inference.ctc_greedy import greedy_ctc, recognise
from espnet_sld.models.ctc import CtcRecogniser, Encoded


def one_by_one(logits, blank=0):
    """Tokens, frames, their probabilities and the score of one utterance (T, V)."""
    tokens, frames, probabilities, score, before = [], [], [], 0.0, None
    for frame, row in enumerate(logits):
        label = int(row.argmax())
        score += row.log_softmax(-1)[label].item()
        if label != before and label != blank:
            tokens.append(label)
            frames.append(frame)
            probabilities.append(row.softmax(-1)[label].item())
        before = label
    return tokens, frames, probabilities, score


def batch():
    generator = torch.Generator().manual_seed(4)
    lengths = [40, 1, 17, 8]
    logits = 2 * torch.randn(4, 40, 4, generator=generator, dtype=torch.float64)
    logits[3, :8, 0] = 50.0  # blanks only
    for row, length in enumerate(lengths):
        logits[row, length:] = torch.tensor([-9.0, 9.0, -9.0, 9.5], dtype=torch.float64)
    return logits, torch.tensor(lengths)


@pytest.mark.parametrize("blank", [0, 2])
def test_a_batch_is_its_utterances_one_by_one(blank):
    logits, lengths = batch()
    paths = greedy_ctc(logits, lengths, blank=blank)
    wanted = [one_by_one(row[:length], blank) for row, length in zip(logits, lengths, strict=True)]
    assert paths.lists() == [tokens for tokens, *_ in wanted]
    assert paths.frame_lists() == [frames for _, frames, *_ in wanted]
    for found, (_, _, expected, _) in zip(paths.probability_lists(), wanted, strict=True):
        assert found == pytest.approx(expected, abs=1e-12)
    assert paths.scores.tolist() == pytest.approx([score for *_, score in wanted], abs=1e-9)
    assert any(paths.lists()) and (blank != 0 or paths.lists()[3] == [])
    normalised = greedy_ctc(logits.log_softmax(-1), lengths, blank=blank)
    assert normalised.lists() == paths.lists()
    assert torch.allclose(normalised.scores, paths.scores, atol=1e-9)


def test_repeats_need_a_blank_between_them():
    labels = torch.tensor([[1, 1, 0, 1, 2, 2, 1, 0, 0]])
    logits = torch.nn.functional.one_hot(labels, 3).float()
    paths = greedy_ctc(logits, torch.tensor([9]))
    assert (paths.lists(), paths.frame_lists()) == ([[1, 1, 2, 1]], [[0, 3, 4, 6]])


def test_more_padding_changes_nothing():
    logits, lengths = batch()
    more = torch.cat([logits, torch.full((4, 5, 4), 7.0, dtype=torch.float64)], 1)
    assert all(
        torch.equal(one, other)
        for one, other in zip(greedy_ctc(logits, lengths), greedy_ctc(more, lengths), strict=True)
    )


class Identity(nn.Module):
    """The input's frames, unchanged."""

    def forward(self, x, lengths, condition=None):
        return Encoded(x, lengths, {})


def test_a_model_recognises_a_batch_as_it_does_each_utterance():
    torch.manual_seed(0)
    model = CtcRecogniser(Identity(), 4, 5, dropout=0.5, decoder_layers=("last",))
    x, lengths = batch()
    x = x.float()
    with pytest.raises(ValueError, match="eval"):
        recognise(model, x, lengths)
    tokens, scores = recognise(model.eval(), x, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, score = recognise(model, x[row : row + 1, :length], lengths[row : row + 1])
        assert alone == tokens[row : row + 1]
        assert score == pytest.approx(scores[row : row + 1], abs=1e-4)
