"""Schedules start, peak, reach zero, and resume where they were."""

import pytest
import torch

from espnet_sld.bin.train import load_task
from espnet_sld.errors import InputError

load_task()
from espnet_sld.tasks.optimizer import build_optimizer  # noqa: E402
from espnet_sld.tasks.schedulers import LinearDecay, WarmupCosine  # noqa: E402


def rates(kind: type, steps: int, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = kind(optimizer, **options)
    scheduler.set_total_steps(steps)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [*values, optimizer.param_groups[0]["lr"]]


def test_cosine_warms_up_to_the_peak_and_ends_at_zero() -> None:
    values = rates(WarmupCosine, 100, warmup_steps=0.1)
    assert values[:10] == sorted(values[:10]) and 0 < values[0] < values[9] < 2.0
    assert values[10] == max(values) == 2.0
    assert values[55] == pytest.approx(1.0)
    assert values[-1] == pytest.approx(0.0)


def test_linear_decay_is_a_line_to_zero() -> None:
    values = rates(LinearDecay, 10)
    assert values == pytest.approx([2.0 * (1 - step / 10) for step in range(11)])


def test_a_restored_schedule_goes_on_the_same() -> None:
    def build():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = WarmupCosine(optimizer, warmup_steps=3)
        scheduler.set_total_steps(20)
        return optimizer, scheduler

    (first, one), (second, two) = build(), build()
    for _ in range(7):
        first.step()
        one.step()
    two.load_state_dict(one.state_dict())
    for _ in range(5):
        assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"]
        for optimizer, scheduler in ((first, one), (second, two)):
            optimizer.step()
            scheduler.step()


def test_weight_decay_leaves_norms_and_embeddings_out_by_option() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    optimizer = build_optimizer(torch.optim.AdamW, model, {"lr": 1.0, "weight_decay": 0.1}, True)
    decayed, free = optimizer.param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 4)] and decayed["weight_decay"] == 0.1
    assert sum(p.numel() for p in free["params"]) == 20 + 4 + 4 + 4 and free["weight_decay"] == 0.0
    assert len(build_optimizer(torch.optim.AdamW, model, {"lr": 1.0}).param_groups) == 1
    with pytest.raises(InputError, match="unknown option learning_rate"):
        build_optimizer(torch.optim.AdamW, model, {"learning_rate": 1.0})
