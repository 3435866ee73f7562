"""Where the CPU time of training and decoding goes: ours beside what a user would otherwise run.

One thread, torch's profiler, time inside operations (not what they call), grouped by what they do. Python
and the calls themselves are in no group: the profiler makes them dearer than they are. Sizes are those of the
rows `train_tokens` and, with fewer utterances (the profiler remembers every operation), `decode_hf1`.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

from bench import LIBRARIES, ROWS

GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "attention in one operation": ("_scaled_dot_product",),
    "softmax, norms": ("_softmax", "_log_softmax", "logsumexp", "native_layer_norm", "pow", "mean", "rsqrt"),
    "copies, fills, look-ups": ("copy_", "fill_", "zero_", "cat", "index", "gather", "scatter", "embedding",
                                "_to_copy", "clone", "where", "masked_fill", "one_hot", "_index_put"),
}  # fmt: skip
OTHER = "other element-wise operations"


def group_of(operation: str) -> str:
    """The group of an operation's name, e.g. `aten::mm`."""
    name = operation.removeprefix("aten::")
    for group, starts in GROUPS.items():
        if any(name == start or name.startswith(f"{start}_") for start in starts):
            return group
        if group == "attention in one operation" and name.startswith(starts):
            return group
    return OTHER


def shares(run: Callable[[], Any]) -> tuple[float, dict[str, float]]:
    """CPU seconds inside operations of one run, and percent of them by group."""
    from torch.profiler import ProfilerActivity, profile

    run()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    seconds = dict.fromkeys([*GROUPS, OTHER], 0.0)
    for event in found.key_averages():
        seconds[group_of(event.key)] += event.self_cpu_time_total / 1e6
    total = sum(seconds.values())
    return total, {group: 100 * value / total for group, value in seconds.items()}


def cases(*, tiny: bool = False) -> dict[str, Callable[[], Any]]:
    """What is profiled, by name."""
    import torch
    from rows_decoding import case
    from rows_steps import training

    trained = training(**(ROWS["train_tokens"].tiny if tiny else {}))
    decoded = case(**(ROWS["decode_hf1"].tiny if tiny else {"utterances": 12}))

    @torch.inference_mode()
    def one_by_one() -> None:
        for number in range(len(decoded.prompts)):
            decoded.hugging_face(number, number + 1)

    return {
        "training: released loop": trained.peer,
        "training: ours": trained.ours,
        "decoding: generate, one by one": one_by_one,
        "decoding: ours": decoded.ours,
    }


def main(*, tiny: bool = False) -> None:
    """Print a Markdown table: a column for each case, a line for each group."""
    import torch

    torch.set_num_threads(1)
    found = {name: shares(run) for name, run in cases(tiny=tiny).items()}
    print(f"| % of the time inside operations | {' | '.join(found)} |\n|---|{'---:|' * len(found)}")
    for group in [*GROUPS, OTHER]:
        print(f"| {group} | {' | '.join(f'{by_group[group]:.0f}' for _, by_group in found.values())} |")
    print(f"| CPU seconds, profiled | {' | '.join(f'{total:.2f}' for total, _ in found.values())} |")


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(LIBRARIES, "1"))  # before numpy and torch load
    sys.exit(main(tiny="--tiny" in sys.argv[1:]))
