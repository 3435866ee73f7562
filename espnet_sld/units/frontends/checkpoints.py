"""Self-supervised checkpoints: format told from the content, read without unpickling, in one common form."""

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from espnet_sld.errors import InputError
from espnet_sld.units.frontends.convert import to_fairseq
from espnet_sld.units.frontends.ssl_config import MODEL_TYPES, SslConfig, from_fairseq, from_transformers

FORMATS = (
    "a Hugging Face directory, s3prl's {task_cfg, model_cfg, model_weight, dictionaries_symbols} or "
    "Microsoft's {cfg, model}"
)


@dataclass(frozen=True)
class Checkpoint:
    """A HuBERT or WavLM model as read.

    Attributes:
        path: the file or directory.
        format: transformers | s3prl | microsoft | fairseq.
        config: its architecture.
        weights: under fairseq's names.
    """

    path: Path
    format: str
    config: SslConfig
    weights: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Directory:
    """A Hugging Face directory as read: its two configurations (the second may be missing), its weights."""

    config: dict[str, Any]
    preprocessor: dict[str, Any] | None
    weights: dict[str, torch.Tensor]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a HuBERT or WavLM checkpoint of any of the formats.

    Raises:
        InputError: another format or architecture, a damaged file, or a pickle that would run code.
    """
    path = Path(path)
    if path.is_dir():
        found = read_directory(path)
        config = from_transformers(found.config, found.preprocessor, str(path))
        return Checkpoint(path, "transformers", config, to_fairseq(config, found.weights))
    content = load_file(path)
    where = str(path)
    if "model_cfg" in content and "model_weight" in content:
        model = _mapping(content, "model_cfg", where)
        task = _mapping(content, "task_cfg", where)
        weights = _mapping(content, "model_weight", where)
        return Checkpoint(path, "s3prl", from_fairseq(model, task, where), weights)
    if "cfg" in content and "model" in content:
        cfg, weights = _mapping(content, "cfg", where), _mapping(content, "model", where)
        if isinstance(cfg.get("model"), Mapping) and isinstance(cfg.get("task"), Mapping):
            kind = cfg["model"].get("_name")
            if kind not in MODEL_TYPES:
                raise InputError(f"{where}: a fairseq model '{kind}'; known: {' '.join(MODEL_TYPES)}")
            return Checkpoint(path, "fairseq", from_fairseq(cfg["model"], cfg["task"], where), weights)
        return Checkpoint(path, "microsoft", from_fairseq(cfg, None, where), weights)
    raise InputError(
        f"{path}: holds {', '.join(sorted(map(str, content))[:6]) or 'nothing'}, which is no known "
        f"checkpoint: expected {FORMATS}"
    )


def load_file(path: Path) -> Mapping[str, Any]:
    """The dictionary of a torch file; tensors and plain containers only, nothing is executed.

    Raises:
        InputError: the file holds other objects, is no torch file, or is no dictionary.
    """
    mapped = {"mmap": True} if zipfile.is_zipfile(path) else {}  # blocks beyond the layer are never read
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, **mapped)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused: it is no torch file, or it holds objects that run code when they are "
            f"unpickled ({_reason(error)}). A checkpoint as fairseq saves it is first converted, where it is "
            "trusted: python -m s3prl.upstream.hubert.convert FILE --output_dir DIR (needs fairseq)"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as a torch file ({_reason(error)}); get it again, or give {FORMATS}"
        ) from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected {FORMATS}")
    return content


def read_directory(path: Path) -> Directory:
    """Configuration and weights of a Hugging Face directory (safetensors, also in shards, or .bin).

    Raises:
        InputError: a file is missing or damaged.
    """
    config = read_json(path / "config.json")
    preprocessor = path / "preprocessor_config.json"
    weights: dict[str, torch.Tensor] = {}
    for file in _weight_files(path):
        weights |= load_file(file) if file.suffix == ".bin" else _load_safetensors(file)
    return Directory(config, read_json(preprocessor) if preprocessor.exists() else None, weights)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: no such file, or no JSON object in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected {FORMATS}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); get it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; get it again")
    return content


def _weight_files(path: Path) -> list[Path]:
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (path / single).exists():
            return [path / single]
        index = path / f"{single}.index.json"
        if index.exists():
            names = sorted(set(read_json(index).get("weight_map", {}).values()))
            bad = [name for name in names if Path(name).name != name or not (path / name).is_file()]
            if bad or not names:
                raise InputError(f"{index}: names files that are not beside it: {' '.join(bad)}; get them")
            return [path / name for name in names]
    raise InputError(f"{path}: has neither model.safetensors nor pytorch_model.bin (nor their index)")


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file as load

    try:
        return load(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged ({_reason(error)}); get it again") from None


def _mapping(content: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = content.get(key)
    if not isinstance(value, Mapping):
        raise InputError(
            f"{where}: its '{key}' is {type(value).__name__}, not a dictionary; expected {FORMATS}"
        )
    return value


def _reason(error: Exception) -> str:
    """The line of a library's message that says what is wrong."""
    lines = str(error).replace("WeightsUnpickler error: ", "\n").splitlines()
    telling = [line.strip() for line in lines if "Unsupported" in line or "GLOBAL" in line]
    first = next((line.strip() for line in lines if line.strip()), type(error).__name__)
    return (telling[0] if telling else first)[:160]
