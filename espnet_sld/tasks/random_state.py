"""The random numbers that dropout and its like will draw next, of Python, NumPy and torch, as one tensor."""

import random

import numpy as np
import torch
from torch import Tensor

# Words of the Mersenne Twister's state (Python keeps the position as one more); bytes of torch's generator.
WORDS, TORCH_BYTES = 624, 5056


def capture() -> Tensor:
    """State of every generator of this process, uint8 (n,); n is the same on all processes of a training."""
    _, words, gauss = random.getstate()
    _, keys, place, has_gauss, cached = np.random.get_state()
    pieces = [
        np.array(words, dtype=np.uint32),  # WORDS + 1
        np.array([np.nan if gauss is None else gauss]),
        np.asarray(keys, dtype=np.uint32),
        np.array([place, has_gauss], dtype=np.uint32),
        np.array([cached], dtype=np.float64),
        torch.get_rng_state().numpy(),
    ]
    if torch.cuda.is_available():
        pieces.append(torch.cuda.get_rng_state().numpy())
    return torch.frombuffer(bytearray(b"".join(piece.tobytes() for piece in pieces)), dtype=torch.uint8)


def restore(state: Tensor) -> None:
    """Put a captured state back; a state without a GPU's part leaves the GPU's generator as it is."""
    content, at = state.cpu().numpy().tobytes(), 0

    def take(count: int, dtype: type) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(content, dtype=dtype, count=count, offset=at)
        at += values.nbytes
        return values

    words, gauss = take(WORDS + 1, np.uint32), float(take(1, np.float64)[0])
    random.setstate((3, tuple(words.tolist()), None if np.isnan(gauss) else gauss))
    keys, (place, has_gauss) = take(WORDS, np.uint32), take(2, np.uint32).tolist()
    np.random.set_state(("MT19937", keys, place, has_gauss, float(take(1, np.float64)[0])))
    torch.set_rng_state(torch.from_numpy(take(TORCH_BYTES, np.uint8).copy()))
    rest = take(len(content) - at, np.uint8)
    if len(rest) and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.from_numpy(rest.copy()))
