"""CTC forced alignment against the enumeration of every path, and torch's own CTC loss."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import ctc_loss

from espnet_sld.criteria.alignment import forced_alignment, peak_frames, required_frames

CASES = [  # frames, target
    (5, [1, 2]),
    (5, [1, 1]),  # a repeat needs a blank
    (3, [2, 2]),  # exactly one path
    (4, [2, 2, 1]),
    (4, []),
    (1, [3]),
    (3, [3, 1, 2]),
    (2, [3, 3]),  # no path
    (2, [1, 2, 3]),  # no path
]


def random_log_probs(frames, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(frames, classes, generator=generator, dtype=torch.float64).log_softmax(-1)


def collapse(path, blank=0):
    merged = [token for token, _ in itertools.groupby(path)]
    return [token for token in merged if token != blank]


def every_path(log_probs, target):
    """(score, path) of all sequences of frame labels that collapse to the target."""
    frames, classes = log_probs.shape
    for path in itertools.product(range(classes), repeat=frames):
        if collapse(path) == target:
            yield sum(log_probs[t, token].item() for t, token in enumerate(path)), path


def batch(cases, extra=0):
    """Padded tensors of cases; the padding holds loud values."""
    steps, width = max(frames for frames, _ in cases) + extra, max(len(target) for _, target in cases) + extra
    log_probs = torch.full((len(cases), steps, 4), 50.0, dtype=torch.float64)
    targets = torch.full((len(cases), width), -1)
    for row, (frames, target) in enumerate(cases):
        log_probs[row, :frames] = random_log_probs(frames, seed=row)
        targets[row, : len(target)] = torch.tensor(target)
    lengths = torch.tensor([frames for frames, _ in cases])
    return log_probs, lengths, targets, torch.tensor([len(target) for _, target in cases])


def test_the_path_is_the_best_of_all_paths():
    alignment = forced_alignment(*batch(CASES))
    for row, (frames, target) in enumerate(CASES):
        paths = list(every_path(random_log_probs(frames, seed=row), target))
        found = alignment.frames[row].tolist()
        assert found[frames:] == [-1] * (len(found) - frames)
        if not paths:
            assert alignment.scores[row] == -math.inf and set(found) == {-1}
            continue
        score, path = max(paths)
        assert alignment.scores[row].item() == pytest.approx(score, abs=1e-12)
        assert [target[place] if place >= 0 else 0 for place in found[:frames]] == list(path)


def test_the_sum_over_all_paths_is_torchs_ctc_and_bounds_the_best():
    log_probs, lengths, targets, target_lengths = batch(CASES)
    losses = ctc_loss(
        log_probs.transpose(0, 1), targets.clamp(min=0), lengths, target_lengths, reduction="none"
    )
    scores = forced_alignment(log_probs, lengths, targets, target_lengths).scores
    for row, (frames, target) in enumerate(CASES):
        paths = [score for score, _ in every_path(random_log_probs(frames, seed=row), target)]
        if paths:
            total = torch.tensor(paths, dtype=torch.float64).logsumexp(0)
            assert losses[row].item() == pytest.approx(-total.item(), abs=1e-12)
            assert scores[row] <= -losses[row] + 1e-12
        else:
            assert losses[row] == math.inf


def test_a_target_with_one_path_has_ctcs_gradient_on_that_path():
    """Where one path carries all of the probability, −∂CTC/∂log p is 1 on its labels and 0 elsewhere."""
    log_probs = random_log_probs(3).unsqueeze(0).requires_grad_()
    targets, lengths = torch.tensor([[2, 2]]), torch.tensor([3])
    loss = ctc_loss(log_probs.transpose(0, 1), targets, lengths, torch.tensor([2]), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, log_probs)
    # torch's gradient is that by the logits: softmax − occupation
    occupation = log_probs.exp() - gradient
    frames = forced_alignment(log_probs, lengths, targets, torch.tensor([2])).frames
    assert frames.tolist() == [[0, -1, 1]]
    assert torch.allclose(occupation[0], torch.eye(4, dtype=torch.float64)[[2, 0, 2]], atol=1e-12)


def test_padding_and_company_change_nothing():
    together, more = forced_alignment(*batch(CASES)), forced_alignment(*batch(CASES, extra=3))
    assert torch.equal(together.scores, more.scores)
    assert torch.equal(together.frames, more.frames[:, : together.frames.size(1)])
    for row in range(len(CASES)):
        log_probs, lengths, targets, target_lengths = (part[row : row + 1] for part in batch(CASES))
        steps, width = int(lengths), int(target_lengths)
        alone = forced_alignment(log_probs[:, :steps], lengths, targets[:, :width], target_lengths)
        assert torch.equal(alone.scores, together.scores[row : row + 1])
        assert torch.equal(alone.frames[0], together.frames[row, :steps])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    log_probs, *rest = batch(CASES)
    assert forced_alignment(log_probs.to(dtype), *rest).scores.dtype == torch.float32


def test_another_blank():
    log_probs, lengths, targets, target_lengths = batch(CASES[:4])
    swapped = log_probs[..., [3, 1, 2, 0]]
    assert torch.equal(
        forced_alignment(swapped, lengths, targets, target_lengths, blank=3).frames,
        forced_alignment(log_probs, lengths, targets, target_lengths).frames,
    )


def test_required_frames_counts_a_blank_between_repeats():
    targets = torch.tensor([[1, 1, 1, 2], [1, 2, 2, 2], [3, 3, -1, -1], [-1, -1, -1, -1]])
    assert required_frames(targets, torch.tensor([4, 2, 2, 0])).tolist() == [6, 2, 3, 0]
    log_probs, lengths, targets, target_lengths = batch(CASES)
    possible = forced_alignment(log_probs, lengths, targets, target_lengths).scores > -math.inf
    assert torch.equal(possible, required_frames(targets, target_lengths) <= lengths)


def test_a_peak_is_the_most_probable_of_the_tokens_own_frames():
    log_probs, lengths, targets, target_lengths = batch(CASES, extra=1)
    frames = forced_alignment(log_probs, lengths, targets, target_lengths).frames
    peaks = peak_frames(log_probs, targets, frames)
    for row, (_, target) in enumerate(CASES):
        for place in range(targets.size(1)):
            own = [t for t, found in enumerate(frames[row].tolist()) if found == place]
            wanted = max(own, key=lambda t: log_probs[row, t, target[place]].item()) if own else -1
            assert peaks[row, place] == wanted


def test_of_equal_peaks_the_first():
    frames = torch.tensor([[0, 0, -1, 1]])
    assert peak_frames(torch.zeros(1, 4, 3), torch.tensor([[1, 2, 1]]), frames).tolist() == [[0, 3, -1]]
