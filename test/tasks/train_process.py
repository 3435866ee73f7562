"""One process of a data-parallel training on the CPU, in float64: `RANK|alone STORE options…`.

ESPnet's own main joins processes only on GPUs; this is its main_worker in few words.
"""

import sys
from pathlib import Path

import torch

from espnet_sld.bin.train import load_task
from espnet_sld.tasks.command_line import parse_options

Task = load_task()
from espnet2.train.distributed_utils import DistributedOption  # noqa: E402

from espnet_sld.tasks.schedulers import WarmupCosine  # noqa: E402


def main(rank: str, store: str, arguments: list[str]) -> None:
    torch.set_num_threads(1)
    option = DistributedOption(distributed=False, ngpu=0)
    if rank != "alone":
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=int(rank), world_size=2
        )
        option = DistributedOption(distributed=True, dist_rank=int(rank), dist_world_size=2, ngpu=0)
    args = parse_options(Task.get_parser(), arguments)
    Path(args.output_dir).mkdir(exist_ok=True)
    torch.manual_seed(args.seed)
    model = Task.build_model(args).double()
    optimizers = Task.build_optimizers(args, model)
    schedulers = [WarmupCosine(optimizers[0], **args.scheduler_conf)]
    factories = [Task.build_iter_factory(args, option, mode) for mode in ("train", "valid")]
    options = Task.trainer.build_options(args)
    Task.trainer.run(model, optimizers, schedulers, *factories, None, options, option)
    if rank != "alone":
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
