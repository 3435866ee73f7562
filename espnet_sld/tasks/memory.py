"""Out of memory on a GPU: found before training begins, on the largest micro-batch, and explained."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from espnet_sld.errors import InputError
from espnet_sld.tasks import random_state
from espnet_sld.tasks.iterator import MicroBatch

logger = logging.getLogger(__name__)


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """What the optimiser will still allocate at its first step: two moments a parameter, as Adam's."""
    if optimizer.state:
        return 0
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return 2 * sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def try_micro_batch(
    loss_of: Callable[[MicroBatch], torch.Tensor],
    micro_batch: MicroBatch,
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    buffers: Sequence[torch.Tensor] = (),
) -> None:
    """One forward and backward pass that leaves nothing behind: no gradient, no drawn random number.

    Args:
        loss_of: the training loss of a micro-batch.
        buffers: the model's, which a batch norm changes.

    Raises:
        torch.OutOfMemoryError: it does not fit beside what the optimiser will need.
    """
    random = random_state.capture()
    device, before = parameters[0].device, [buffer.clone() for buffer in buffers]
    try:
        reserved = torch.empty(optimizer_bytes(optimizer), dtype=torch.uint8, device=device)
        loss_of(micro_batch).backward()
        del reserved
    finally:
        for parameter in parameters:
            parameter.grad = None
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        random_state.restore(random)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def out_of_memory(
    error: torch.OutOfMemoryError, micro_batch: MicroBatch, batch_bins: int, when: str, remedy: str
) -> InputError:
    """The message for a GPU that is too small; `when`: e.g. "in step 17 of epoch 2"."""
    names, batch = micro_batch
    rows, width = rows_and_width(batch)
    reason = ". ".join(str(error).split(". ")[:3])  # what was asked for, and what the GPU has
    return InputError(
        f"{reason} {when}: {rows} utterances × {width} tokens = {rows * width}, batch_bins={batch_bins} "
        f"({named(names)}); {remedy}"
    )


def rows_and_width(batch: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Of a batch: rows, and the longest one's length in what `batch_bins` counts."""
    return len(batch["lengths"]), int(batch["lengths"].max())


def named(utterances: Sequence[str], most: int = 5) -> str:
    """`a, b, c, d, e and 7 more`."""
    listed = ", ".join(utterances[:most])
    return f"{listed} and {len(utterances) - most} more" if len(utterances) > most else listed


def try_largest(
    loss_of: Callable[[MicroBatch], torch.Tensor],
    factory: Any,
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    buffers: Sequence[torch.Tensor] = (),
) -> None:
    """The largest micro-batch that training can meet, before training; see `try_micro_batch`.

    Args:
        factory: a `StepIterFactory`.

    Raises:
        InputError: it does not fit.
    """
    largest, bins = factory.largest(), factory.sampler.batch_bins
    remedy = "lower --batch_bins, and raise --accum_grad as much to keep the optimiser steps' size"
    try:
        try_micro_batch(loss_of, largest, optimizer, parameters, buffers)
    except torch.OutOfMemoryError as error:
        when = "on the largest micro-batch, tried before training"
        raise out_of_memory(error, largest, bins, when, remedy) from None
    rows, width = rows_and_width(largest[1])
    logger.info("the largest micro-batch, %d utterances × %d tokens, fits", rows, width)
