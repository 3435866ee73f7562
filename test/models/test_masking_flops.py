"""Input masking, and the sums behind the estimate of utilisation."""

import pytest
import torch

from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.flops import FlopCounter, measured_peak
from espnet_sld.models.masking import mask_generator, mask_inputs


def test_masks_real_tokens_at_the_asked_rate_and_leaves_targets_alone():
    tokens = torch.randint(5, 100, (50, 80))
    lengths = torch.randint(1, 81, (50,))
    real = torch.arange(80) < lengths[:, None]
    before = tokens.clone()
    masked = mask_inputs(tokens, lengths, 0.3, 1, mask_generator(0, 7, 0))
    assert torch.equal(tokens, before)
    assert torch.equal(masked[~real], tokens[~real])
    changed = masked != tokens
    assert (masked[changed] == 1).all()
    assert abs(changed[real].float().mean() - 0.3) < 0.03
    assert mask_inputs(tokens, lengths, 0.0, 1, mask_generator(0)) is tokens


def test_mask_depends_on_seed_step_and_rank_alone():
    tokens, lengths = torch.randint(5, 100, (4, 30)), torch.tensor([30, 10, 20, 1])

    def draw(*numbers, pad=0):
        longer = torch.nn.functional.pad(tokens, (0, pad), value=2)
        return mask_inputs(longer, lengths, 0.3, 1, mask_generator(*numbers))[:, :30]

    torch.manual_seed(5)
    first = draw(1, 2, 3)
    torch.manual_seed(6)
    assert torch.equal(draw(1, 2, 3), first)
    assert torch.equal(draw(1, 2, 3, pad=4), first)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 0)):
        assert not torch.equal(draw(*other), first)


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt"], ids=str)
def test_flops_equal_what_torch_counts(name, scratch):
    from torch.utils.flop_counter import FlopCounterMode

    lm = DecoderOnlyLM(build_backbone(None, scratch(name), 31, dropout=0.0), 1)
    tokens = torch.randint(31, (2, 16))
    with FlopCounterMode(display=False) as counted:
        lm(tokens)
    ours = FlopCounter(lm)
    # torch counts the scores of all pairs, we the causal half
    full = 2 * ours.attention * 2 * 16**2
    by_matmul = counted.get_total_flops()
    attention = sum(v for k, v in counted.get_flop_counts()["Global"].items() if "attention" in str(k))
    assert ours.forward([16, 16], 32) - full == by_matmul - attention
    assert attention in (0, 2 * full)  # 0: the CPU kernel is not in torch's table
    assert ours.training([16, 16], 32) == 3 * ours.forward([16, 16], 32)


def test_peak_is_measured():
    assert measured_peak("cpu", seconds=0.01) > 1e8
