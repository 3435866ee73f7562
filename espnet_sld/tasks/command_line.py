"""Reading and checking training's options: one clear line where argparse and ESPnet print a book."""

import argparse
import difflib
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet_sld.errors import InputError

# ESPnet's options that this task does not follow: refused rather than ignored.
UNSUPPORTED = {
    "sharded_ddp": False,
    "use_deepspeed": False,
    "use_adapter": False,
    "grad_noise": False,
    "multiple_iterator": False,
    "multi_task_dataset": False,
    "create_graph_in_tensorboard": False,
    "use_wandb": False,
    "no_forward_run": False,
    "collect_stats": False,
    "num_att_plot": 0,
    "iterator_type": "task",
    "valid_iterator_type": None,
    "ddp_comm_hook": None,
    "exclude_weight_decay_conf": {},
    # Batches are by `batch_bins` alone.
    "batch_type": "folded",
    "batch_size": 20,
    "valid_batch_type": None,
    "valid_batch_size": None,
    "drop_last_iter": False,
}

SCIENTIFIC = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+")


def parse_options(parser: argparse.ArgumentParser, command: Sequence[str]) -> argparse.Namespace:
    """Options from the command line and `--config`.

    Raises:
        InputError: an unknown option (with a guess at what was meant) or a value of the wrong type.
    """

    def fail(message: str) -> None:
        words = [word.strip("-,") for word in message.rpartition("arguments:")[2].split()]
        known = [action.dest for action in parser._actions]
        close = difflib.get_close_matches(words[0], known, 1) if "unrecognized" in message and words else []
        hint = f"did you mean {close[0]}?" if close else "`--print_config` shows all options"
        raise InputError(f"{message}; {hint}")

    parser.error = fail
    parser.allow_abbrev = False  # an abbreviated option would escape the record of the training's options
    try:
        args = parser.parse_args(command)
    except yaml.YAMLError as error:
        raise InputError(f"--config: not YAML ({' '.join(str(error).split())})") from None
    for name, value in vars(args).items():
        if isinstance(value, dict):
            setattr(args, name, _numbers(value))
    return args


def _numbers(value: Any) -> Any:
    """The same with numbers where YAML 1.1 reads text: 2e-3 lacks a dot to it, and 1.5e3 a sign."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return float(value) if isinstance(value, str) and SCIENTIFIC.fullmatch(value) else value


def check_options(args: argparse.Namespace, names: Sequence[str], kinds: Sequence[str] = ("text",)) -> None:
    """Refuse missing and unsupported options before anything is built.

    Args:
        names: data names that both sets must have. kinds: ESPnet's types that they may have.

    Raises:
        InputError: names the option and the remedy.
    """
    data = ("train_data_path_and_name_and_type", "valid_data_path_and_name_and_type")
    mixture = getattr(args, "mixture", None)
    needed = ("output_dir",) if mixture else ("output_dir", *data)
    missing = [f"--{name}" for name in needed if not getattr(args, name)]
    if missing:
        raise InputError(f"missing option: {', '.join(missing)}")
    for name, allowed in UNSUPPORTED.items():
        if getattr(args, name) != allowed:
            raise InputError(
                f"--{name} {getattr(args, name)} is not supported by this task; leave it at {allowed}"
            )
    if mixture:
        given = [
            f"--{name}" for name in (*data, "train_shape_file", "valid_shape_file") if getattr(args, name)
        ]
        if given:
            raise InputError(f"--mixture names the data sets; leave out {' and '.join(given)}")
        if args.curriculum_portion < 1.0 and args.curriculum_steps > 0:
            raise InputError("a curriculum by length is not for a mixture; leave out --curriculum_portion")
    for mode in () if mixture else ("train", "valid"):
        triples = getattr(args, f"{mode}_data_path_and_name_and_type")
        found = sorted(name for _, name, _ in triples)
        if found != sorted(names) or any(kind not in kinds for *_, kind in triples):
            raise InputError(
                f"--{mode}_data_path_and_name_and_type: expected "
                + " and ".join(f"FILE,{name},text" for name in names)
                + ", got "
                + " ".join(",".join(triple) for triple in triples)
            )
    for source in args.init_param:
        _check_parameters(source)
    if args.use_tf32 and args.use_amp:
        raise InputError("--use_tf32 is for training without --use_amp; leave one of them out")
    if args.save_interval_steps < 0 or args.save_interval_minutes < 0:
        raise InputError("--save_interval_steps and --save_interval_minutes must not be negative")


def _check_parameters(source: str) -> None:
    """Refuse a file that is not plain tensors: ESPnet reads `--init_param FILE[:…]` as any pickle."""
    path = Path(source.split(":")[0])
    if not path.exists():
        raise InputError(f"--init_param {source}: no such file")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
        raise InputError(f"--init_param {source}: damaged, or not a file of parameters ({reason})") from None
