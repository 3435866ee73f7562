"""From an experiment of CTC training to one pack: encoder, CTC head and tokens; no decoder, no teacher."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.inference.archive import json_bytes
from espnet_sld.inference.ctc_checkpoint import CTC_PATHS
from espnet_sld.inference.pack import (
    CONFIG,
    LISTS,
    WEIGHTS,
    Card,
    Units,
    check_clusters,
    common_info,
    describe_text,
    pack_files,
    result_of,
    same_checkpoint,
    save_hugging_face,
)

# What of config.yaml makes the model at inference.
CTC_KEYS = (
    *("input", "encoder", "encoder_conf", "interctc_layers", "self_conditioning", "unit_vocabulary"),
    *("unit_subsampling", "frontend_conf", "normalize", "normalize_conf", "target_vocabulary"),
    *("token_type", "speech_token_type", "num_clusters", "criterion_conf", "criterion_weights", "seed"),
)


def pack_ctc(
    out: str | Path,
    units: Units | None,
    card: Card,
    *,
    checkpoint: Path,
    decoding: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]] = (),
    train_text: Path | None = None,
    git: str = "unknown",
) -> str:
    """Pack a trained recogniser; returns the pack's digest.

    Args:
        out: a directory, or a name that ends in .zip.
        units: the tokenisation; None for a model that hears filterbanks, which needs none.
        checkpoint: a .pth with config.yaml beside it.
        decoding: default options: `batch_tokens`.
        results: `result.json` of scored sets; those of other checkpoints are left out.
        train_text: transcripts of the training set, to say how text is written.

    Raises:
        InputError: a file is missing or damaged, or parts do not belong together.
    """
    from safetensors.torch import save

    from espnet_sld.inference.ctc_checkpoint import load_ctc

    trained = load_ctc(checkpoint)
    config, model = trained.config, trained.model
    files: dict[str, bytes | Path] = {}
    paths = _token_files(config, files)
    info = common_info("model", units, card, git, files)
    if units is None:
        info["frontend"]["conf"] = dict(config.get("frontend_conf") or {})
    else:
        check_clusters(units, info, config, checkpoint.parent)
    info |= {
        "task": "ctc",
        "model": {
            "type": f"{config['encoder']} CTC",
            "parameters": model.num_inference_parameters(),
            "objective": (config.get("criterion_conf") or {}).get("row", "interaed_kd"),
            "seed": config.get("seed"),
            "initialised_from": None,
            "checkpoint": checkpoint.name,
        },
        "token_paths": paths,
        "text_normalisation": describe_text(train_text) if train_text else None,
        "decoding": {"batch_tokens": int(decoding.get("batch_tokens", 16384))},
        "results": [result_of(values) for values in results if same_checkpoint(values, checkpoint.name)],
    }
    files[CONFIG] = json_bytes({key: config[key] for key in CTC_KEYS if key in config})
    values = {name: value.detach().cpu().contiguous() for name, value in model.inference_state_dict().items()}
    files[WEIGHTS] = save(values, {"format": "pt"})
    return pack_files(out, info, files)


def _token_files(config: Mapping[str, Any], files: dict[str, bytes | Path]) -> dict[str, str | None]:
    """Where the tokens' files are in the pack; adds them to `files`."""
    paths: dict[str, str | None] = dict.fromkeys(CTC_PATHS)

    def take(role: str, path: Path, folder: str | None = None) -> None:
        name = f"{LISTS}/{folder or path.absolute().parent.name}/{path.name}"
        if files.setdefault(name, path) != path:
            raise InputError(f"{path} and {files[name]} would have one name in the pack; rename a folder")
        paths[role] = name

    take("targets", Path(config["token_list"]))
    if config["token_type"] == "hf":
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(config["bpemodel"], trust_remote_code=False)
        paths["target_model"] = f"{LISTS}/hf_targets"
        files.update(save_hugging_face(tokenizer, paths["target_model"]))
    elif config["token_type"] == "bpe":
        take("target_model", Path(config["bpemodel"]))
    if config["input"] == "units" and config["speech_token_type"] != "unit":
        path = Path(config["speech_token_path"])
        take("speech", path / "bpe.model" if path.is_dir() else path)
    return paths
