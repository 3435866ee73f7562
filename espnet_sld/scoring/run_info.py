"""What a finished training's `config.yaml` says that a table or a plot has to say too."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError


@dataclass(frozen=True)
class RunInfo:
    """Of one run directory.

    Attributes:
        dev_set: name of the set whose loss was followed (None where the config has none).
        chosen_by: `valid.ce_text (min) on dev`: what the averaged or best models were chosen by.
        dev_masked: probability with which inputs of the dev loss were masked; 0 = the dev loss is unmasked.
        criterion_conf: options of the criterion (objective, alpha, temperature …).
        stats_dir: folder of the training set's shape file, which has `length_stats.json`.
    """

    dev_set: str | None
    chosen_by: str
    dev_masked: float
    criterion_conf: dict[str, Any]
    stats_dir: Path | None


def read_run_info(run_dir: str | os.PathLike) -> RunInfo:
    """Read `<run_dir>/config.yaml`.

    Raises:
        InputError: it is missing, or not a training configuration.
    """
    path = Path(run_dir) / "config.yaml"
    config = read_yaml(path, "train that run first (stage 7)")
    data = config.get("valid_data_path_and_name_and_type") or []
    names = {Path(item[0]).parent.name for item in data}
    dev_set = names.pop() if len(names) == 1 else None
    criteria = config.get("best_model_criterion") or []
    chosen = ", ".join(f"{phase}.{name} ({mode})" for phase, name, mode in criteria)
    shapes = config.get("train_shape_file") or []
    return RunInfo(
        dev_set=dev_set,
        chosen_by=f"{chosen or 'nothing'} on {dev_set or 'an unnamed set'}",
        dev_masked=dev_masked(config),
        criterion_conf=dict(config.get("criterion_conf") or {}),
        stats_dir=Path(shapes[0]).parent if shapes else None,
    )


def dev_masked(config: Mapping[str, Any]) -> float:
    """Probability with which inputs of the dev loss are masked."""
    return float(config.get("time_mask_prob") or 0.0) if config.get("mask_dev") else 0.0


def read_yaml(path: str | os.PathLike, remedy: str) -> dict[str, Any]:
    """A YAML mapping from a file. Raises InputError that names the file and the `remedy`."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path}: not YAML ({first}); {remedy}") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values; {remedy}")
    return values or {}
