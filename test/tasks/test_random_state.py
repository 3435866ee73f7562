"""What is captured are all generators that training draws from."""

import random

import numpy as np
import torch

from espnet_sld.tasks import random_state


def draws() -> list:
    """Enough of each that the twisters turn over, and an odd number of Gaussians, which come in pairs."""
    return [
        [random.random() for _ in range(700)],
        random.gauss(0, 1),
        np.random.random(700).tolist(),
        np.random.randn(3).tolist(),
        torch.rand(700).tolist(),
        torch.randn(17).tolist(),
    ]


def test_a_restored_state_draws_the_same_numbers() -> None:
    draws()  # leaves half a pair of Gaussians in Python's and NumPy's generators
    state = random_state.capture()
    expected = draws()
    assert draws() != expected
    random_state.restore(state)
    assert draws() == expected


def test_the_size_of_a_state_does_not_depend_on_what_was_drawn() -> None:
    sizes = set()
    for _ in range(3):
        sizes.add(len(random_state.capture()))
        draws()
    assert len(sizes) == 1
