"""More tokens for a pretrained language model: new embedding rows, initialised by a named method."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from espnet_sld.errors import InputError


def _normal(old: Tensor, shape: tuple[int, int], scale: float) -> Tensor:
    return torch.randn(shape) * scale


def _mean(old: Tensor, shape: tuple[int, int], scale: float) -> Tensor:
    return old.mean(0).expand(shape)


def _mean_noise(old: Tensor, shape: tuple[int, int], scale: float) -> Tensor:
    return old.mean(0) + torch.randn(shape) * scale


def _average_norm(old: Tensor, shape: tuple[int, int], scale: float) -> Tensor:
    rows = torch.randn(shape)
    return rows * (old.norm(dim=1).mean() / rows.norm(dim=1, keepdim=True))


def _statistics(old: Tensor, shape: tuple[int, int], scale: float) -> Tensor:
    return old.mean(0) + torch.randn(shape) * old.std(0)


# Each takes the old rows (V, D) float32, the shape of the new ones and the config's initializer_range.
INITIALISERS: dict[str, Callable[[Tensor, tuple[int, int], float], Tensor]] = {
    "normal": _normal,  # N(0, initializer_range), as the model's own rows were before its training
    "mean": _mean,  # the mean of the old rows: the least likely to disturb the old softmax
    "mean_noise": _mean_noise,  # the mean plus N(0, initializer_range), so that new rows differ
    "average_norm": _average_norm,  # random directions with the old rows' average norm
    "statistics": _statistics,  # per dimension the mean and deviation of the old rows
}


@torch.no_grad()
def extend_vocabulary(
    model: nn.Module, new_size: int, method: str = "normal", *, first_new: int | None = None
) -> nn.Module:
    """Give a Hugging Face causal LM `new_size` token rows, in place.

    Rows below `first_new` keep their bits. Tied input and output embeddings stay tied; an untied output
    matrix is extended by the same method from its own old rows. The draw uses torch's global generator.

    Args:
        first_new: first id that does not belong to the model's tokenizer; models often carry a few spare
            rows above it, which are initialised anew. None = the model's present size.

    Raises:
        InputError: unknown method, or a vocabulary smaller than the tokenizer's.
    """
    if method not in INITIALISERS:
        raise InputError(f"init_new_rows '{method}' is unknown; use one of: {', '.join(INITIALISERS)}")
    old_size = model.get_input_embeddings().weight.size(0)
    kept = old_size if first_new is None else min(first_new, old_size)
    if new_size < kept:
        raise InputError(f"a vocabulary of {new_size} cannot hold the backbone's {kept} tokens")
    scale = (
        getattr(model.config, "initializer_range", None) or getattr(model.config, "init_std", None) or 0.02
    )
    model.resize_token_embeddings(new_size, mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None and output.weight is not tables[0]:
        tables.append(output.weight)
    for table in tables:
        shape = (new_size - kept, table.size(1))
        table[kept:] = INITIALISERS[method](table[:kept].float().cpu(), shape, scale).to(table)
    return model
