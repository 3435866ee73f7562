"""What the processes of a training do at the same step they agree about here, beside the GPUs' traffic."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Agreement:
    """Small exchanges on the CPU; with one process each is its own answer.

    A group of its own (gloo) keeps them out of the queue of gradients: nobody waits for a GPU.

    Args:
        distributed: the default process group exists. All processes must then make the same calls.
    """

    def __init__(self, distributed: bool):
        self.group = dist.new_group(backend="gloo") if distributed else None
        self.rank = dist.get_rank() if distributed else 0
        self.world = dist.get_world_size() if distributed else 1

    def most(self, wish: int) -> int:
        """The largest wish of any process."""
        if self.group is None:
            return wish
        value = torch.tensor([int(wish)])
        dist.all_reduce(value, dist.ReduceOp.MAX, self.group)
        return int(value)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.most(0)

    def gather(self, mine: Tensor) -> list[Tensor]:
        """Everyone's tensor (same shape, on the CPU), by rank."""
        if self.group is None:
            return [mine]
        found = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(found, mine, self.group)
        return found

    def of_first(self, values: Sequence[int]) -> list[int]:
        """Rank 0's integers."""
        if self.group is None:
            return list(values)
        tensor = torch.tensor(list(values), dtype=torch.int64)
        dist.broadcast(tensor, 0, self.group)
        return tensor.tolist()
