"""The fast dropout is a dropout."""

import pytest
import torch

from espnet_sld.models.dropout import fast_dropout


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5])
def test_drops_at_the_asked_rate_independently_and_keeps_the_mean(probability):
    torch.manual_seed(0)
    ones = torch.ones(400, 1001)
    dropped = fast_dropout(ones, probability)
    zero = (dropped == 0).float()
    assert abs(zero.mean() - probability) < 0.004
    torch.testing.assert_close(dropped[dropped > 0].unique(), torch.tensor([1 / (1 - probability)]))
    neighbours = torch.corrcoef(torch.stack([zero[:, :-1].flatten(), zero[:, 1:].flatten()]))[0, 1]
    assert abs(neighbours) < 0.01  # four elements share one draw, each with its own bits
    assert (zero.mean(0) - probability).abs().max() < 0.15


def test_gradient_goes_where_the_value_went_and_the_seed_decides():
    values = torch.randn(7, 5, requires_grad=True)
    torch.manual_seed(3)
    first = fast_dropout(values, 0.4)
    first.sum().backward()
    assert torch.equal(values.grad != 0, first != 0)
    torch.manual_seed(3)
    assert torch.equal(fast_dropout(values, 0.4), first)
