"""Is a training already finished, and does the output directory belong to this run? No torch, no ESPnet.

`train.json` in the experiment directory names the content of every input and the command line's options.
A finished training with the same ones returns at once; a begun one with others is refused, so that a
changed corpus or option never goes on from old parameters in silence.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml

from espnet_sld.errors import InputError
from espnet_sld.stamps import Stamp
from espnet_sld.tasks.mixture_file import read_mixture

# Options that may differ between a run and its continuation.
FREE = {
    "resume",
    "ngpu",
    "num_workers",
    "log_interval",
    "log_level",
    "max_epoch",
    "patience",
    "keep_nbest_models",
    "nbest_averaging_interval",
    "peak_flops",
    "use_tensorboard",
    "output_dir",
    "save_interval_steps",
    "save_interval_minutes",
    "try_largest_batch",
    "max_skipped_steps",
    "num_nodes",
    "nproc_per_node",
    "local_rank",
    "dist_backend",
    "dist_init_method",
    "dist_launcher",
    "dist_master_addr",
    "dist_master_port",
    "dist_rank",
    "dist_world_size",
    "multiprocessing_distributed",
}
FILES = (
    "config",
    "text_token_path",
    "speech_token_path",
    "token_list",
    "bpemodel",
    "train_shape_file",
    "valid_shape_file",
    "init_param",
    "mixture",
    "soft_labels",
)


def read_pairs(argv: Sequence[str]) -> list[tuple[str, str]]:
    """(option, value) of a command line of `--name value …` and `--name=value`; a pair for each value."""
    pairs, words = [], list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        values = [value] if equals else []
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        pairs += [(name, value) for value in values or [""]]
    return pairs


def input_files(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Files that the options name: configuration, data, shapes, tokenizers."""
    names = []
    for option, value in pairs:
        if option.endswith("_data_path_and_name_and_type"):
            value = value.split(",")[0]
            if Path(value).name == "wav.scp":  # the other tables that decide a set's audio
                beside = (Path(value).with_name(table) for table in ("segments", "utt2speed"))
                names += [str(path) for path in beside if path.is_file()]
        elif option == "init_param":
            value = value.split(":")[0]  # FILE:source:destination:but
        elif option not in FILES:
            continue
        if Path(value).is_file():
            names.append(value)
            if option == "mixture":
                names += read_mixture(value).files
    return names


def _of_config(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """`output_dir` and `resume`, where the YAML of --config has them; what is wrong with it the task says."""
    path = Path(dict(pairs).get("config", ""))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError):
        values = {}
    values = values if isinstance(values, dict) else {}
    return {name: str(values[name]) for name in ("output_dir", "resume") if values.get(name) is not None}


class TrainingRecord:
    """The two stamps of an experiment directory: begun with what, finished with what."""

    def __init__(self, argv: Sequence[str]):
        pairs = read_pairs(argv)
        given = _of_config(pairs) | dict(pairs)
        self.directory = Path(given.get("output_dir", ""))
        self.named = bool(given.get("output_dir")) and "print_config" not in given
        self.resume = given.get("resume", "false").lower() in {"true", "1", "yes"}
        files = input_files(pairs)
        fixed = sorted(f"{name}={value}" for name, value in pairs if name not in FREE)
        free = sorted(f"{name}={value}" for name, value in pairs if name in {"max_epoch", "patience"})
        self.begun = Stamp(self.directory / "train.begun.json", inputs=files, options={"given": fixed})
        self.done = Stamp(
            self.directory / "train.done.json",
            inputs=files,
            options={"given": fixed, "free": free},
            outputs=[self.directory / "checkpoint.pth", self.directory / "config.yaml"],
        )

    def finished(self) -> bool:
        """True if this very training has ended before."""
        return self.named and self.resume and self.done.fresh()

    def begin(self) -> None:
        """Note what the training starts from.

        Raises:
            InputError: the directory holds checkpoints of a training with other options or data.
        """
        if not self.named:
            return
        has_models = any((self.directory / f"checkpoint{kind}.pth").exists() for kind in ("", ".prev"))
        if self.resume and has_models and self.begun.path.exists() and not self.begun.fresh():
            changed = "; ".join(self.begun.differences()[:4])
            raise InputError(
                f"{self.directory} holds a training with other options or data ({changed}); choose another "
                "experiment (--asr_tag, --ctc_tag, --dmlm_tag), or delete that directory to train again"
            )
        self.done.withdraw()  # what is trained anew is not finished until it ends
        self.begun.write()

    def end(self) -> None:
        """Note that the training has ended."""
        if self.named:
            self.done.write()
