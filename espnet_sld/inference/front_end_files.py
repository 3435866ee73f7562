"""A front-end inside a pack: how it is named there, its weights as safetensors, and how it is built again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.inference.archive import json_bytes
from espnet_sld.units.frontends.base import LAYERED, FrontEnd, build_frontend

FOLDER = "frontend"
LOCAL = ("source", "revision")  # options that say where a checkpoint is, not what it computes


def name_and_conf(record: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of a front-end without a model, from what k-means keeps of it (`describe()`).

    Raises:
        InputError: that does not rebuild it; it has to be named.
    """
    name = str(record.get("name", ""))
    conf = {key: value for key, value in record.items() if key not in ("name", "sample_rate")}
    try:
        if build_frontend(name, **conf).describe() == dict(record):
            return name, conf
    except InputError:
        pass
    raise InputError(
        "the front-end cannot be told from k-means' record; give --frontend and --frontend_conf as in stage 3"
    )


def describe_front_end(
    name: str, conf: Mapping[str, Any], record: Mapping[str, Any], *, include: bool
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a pack says of its front-end, and the files that it brings along.

    Args:
        name, conf: as for `build_frontend`.
        record: `describe()` of the front-end that k-means was fitted with.
        include: bring the weights, cut to the layers that are used.

    Returns:
        {name, conf, record, digest, repository, revision, included} (no path of this machine), and files.

    Raises:
        InputError: another front-end than k-means', or a local checkpoint that nobody else could find.
    """
    front_end = build_frontend(name, **conf)
    if front_end.describe() != dict(record):
        raise InputError(
            f"k-means was fitted on {dict(record)}, the front-end is {front_end.describe()}; "
            "give the front-end options of stage 3"
        )
    provenance = getattr(front_end, "provenance", {})
    model, _, layer = name.rpartition("/")
    is_path = bool(model) and Path(model).exists()
    if is_path:
        name = front_end.name.removesuffix(f"_{layer}") + f"/{layer}"
    info = {
        "name": name,
        "conf": {key: value for key, value in conf.items() if key not in LOCAL},
        "record": dict(record),
        "digest": record.get("weights", ""),
        "repository": provenance.get("repository", ""),
        "revision": provenance.get("revision", ""),
        "included": bool(provenance) and include,
    }
    if is_path and not include:
        raise InputError(
            f"{model}: a checkpoint of this machine cannot be found by its name elsewhere; "
            "give --include_frontend true"
        )
    files: dict[str, bytes] = {}
    if info["included"]:
        folder = f"{FOLDER}/{name.rpartition('/')[0]}"
        files = {f"{folder}/{file}": data for file, data in _files(provenance["source"], int(layer)).items()}
    return info, files


def build_packed(info: Mapping[str, Any], root: Path, device: str, source: str | None = None) -> FrontEnd:
    """The front-end of a pack; its features are those that k-means was fitted on.

    Args:
        info: from `describe_front_end`. root: the pack's folder.
        source: a local checkpoint to take instead of the hub's.

    Raises:
        InputError: the checkpoint is not to be had, or is another one.
    """
    name, conf = info["name"], dict(info["conf"])
    model, _, layer = name.rpartition("/")
    if info["included"]:
        folder = root / FOLDER / model
        if model in LAYERED:
            conf["source"] = str(folder)
        else:
            name = f"{folder}/{layer}"
    elif source:
        conf["source"] = source
    elif info["repository"]:
        conf["revision"] = info["revision"]
    front_end = build_frontend(name, device=device, **conf)
    if front_end.describe() != info["record"]:
        raise InputError(
            f"{root}: its front-end is {info['record']}, but {info['name']} is {front_end.describe()} here; "
            "give the right checkpoint as front-end source"
        )
    return front_end


def _files(source: str, layer: int) -> dict[str, bytes]:
    """A checkpoint, whatever its format, as a Hugging Face directory cut to `layer` blocks."""
    import json

    from safetensors.torch import save

    from espnet_sld.units.frontends.checkpoints import read_checkpoint, read_directory
    from espnet_sld.units.frontends.convert import name_pairs, select

    path = Path(source)
    if path.is_dir() and json.loads((path / "config.json").read_text())["model_type"] == "whisper":
        directory = read_directory(path)
        weights = {
            name: value.contiguous()
            for name, value in directory.weights.items()
            if name.removeprefix("model.").startswith("encoder.")
        }
        config, preprocessor = directory.config, directory.preprocessor
    else:
        checkpoint = read_checkpoint(path)
        pairs = name_pairs(checkpoint.config, layer)
        chosen = select(checkpoint.config, checkpoint.weights, layer, source)
        weights = {pairs[name]: value for name, value in chosen.items()}
        config, preprocessor = _transformers_config(checkpoint.config, layer)
    files = {"config.json": json_bytes(config), "model.safetensors": save(weights, {"format": "pt"})}
    return files | ({"preprocessor_config.json": json_bytes(preprocessor)} if preprocessor else {})


def _transformers_config(config: Any, layer: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inverse of `ssl_config.from_transformers`, with `layer` blocks."""
    channels, kernels, strides = (list(part) for part in zip(*config.conv_layers, strict=True))
    values = {
        "model_type": config.model_type,
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": config.conv_bias,
        "feat_extract_norm": config.conv_norm,
        "num_hidden_layers": layer,
        "hidden_size": config.dimension,
        "intermediate_size": config.feed_forward,
        "num_attention_heads": config.heads,
        "hidden_act": config.activation,
        "do_stable_layer_norm": config.norm_first,
        "layer_norm_eps": config.norm_eps,
        "num_conv_pos_embeddings": config.position_kernel,
        "num_conv_pos_embedding_groups": config.position_groups,
    }
    if config.model_type == "wavlm":
        values |= {"num_buckets": config.num_buckets, "max_bucket_distance": config.max_distance}
    preprocessor: dict[str, Any] = {"sampling_rate": config.sample_rate}
    if config.normalise is not None:
        preprocessor["do_normalize"] = config.normalise
    return values, preprocessor
