"""From an experiment to one pack: all that turns raw audio into text, and nothing of this machine."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.inference.archive import CARD, json_bytes, write_pack
from espnet_sld.inference.audio_tokens import CASES
from espnet_sld.inference.front_end_files import describe_front_end, name_and_conf
from espnet_sld.inference.model_card import model_card
from espnet_sld.tokens.texts import read_texts
from espnet_sld.units.kmeans import KMeans, files_of
from espnet_sld.version import __version__

INFO, CONFIG, WEIGHTS, KMEANS, LISTS = "pack.json", "config.json", "model.safetensors", "kmeans", "token_list"
LIST_FILES = ("bpe.model", "bpe.vocab", "tokens.txt", "subword.json")
# What of config.yaml makes the model; the rest is about training, and about this machine.
MODEL_KEYS = (
    *("vocabulary", "pad_id", "max_positions", "max_text", "dropout", "attention_dropout"),
    *("residual_dropout", "init_new_rows", "template", "speech_token_type", "num_clusters"),
    *("text_token_type", "mask_token", "criterion", "criterion_conf", "seed"),
)
RESULT_KEYS = (
    *("set", "decode_tag", "wer", "cer", "sub", "ins", "del", "ref_words", "utterances"),
    *("rtf", "checkpoint", "git"),
)
MOST_CHARACTERS = 200  # listed of the transcripts


@dataclass(frozen=True)
class Card:
    """What only its maker knows of a pack.

    Attributes:
        license: as the Hugging Face hub names it, e.g. apache-2.0; "unknown" if nobody said.
        language: of the transcripts, e.g. en. datasets: names, as on the hub.
    """

    name: str
    license: str = "unknown"
    language: str = "en"
    datasets: Sequence[str] = ()


@dataclass(frozen=True)
class Units:
    """Where the tokenisation is.

    Attributes:
        kmeans_dir: what stage 3 wrote. num_clusters: K, where there are several.
        case: ts | rm, which unit text the model reads.
        frontend, frontend_conf: as in stage 3; None: as k-means' record says, for front-ends without a model.
        include_frontend: bring the front-end's weights along.
        token_lists: directories of stage 5.
    """

    kmeans_dir: Path
    case: str
    num_clusters: int | None = None
    frontend: str | None = None
    frontend_conf: Mapping[str, Any] = field(default_factory=dict)
    include_frontend: bool = False
    token_lists: Sequence[Path] = ()


def pack_tokenizer(out: str | Path, units: Units, card: Card, *, git: str = "unknown") -> str:
    """Pack front-end, centroids and subword models, for `tokenize.sh --tokenizer`; returns the pack's digest.

    Raises:
        InputError: a file is missing, or the front-end is not k-means'.
    """
    files = _token_lists(units.token_lists)
    info = {**common_info("tokenizer", units, card, git, files), "results": []}
    return pack_files(out, info, files)


def pack_model(
    out: str | Path,
    units: Units,
    card: Card,
    *,
    checkpoint: Path,
    length_stats: Path,
    decoding: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]] = (),
    train_text: Path | None = None,
    git: str = "unknown",
) -> str:
    """Pack a trained model with its tokenisation; returns the pack's digest.

    Args:
        out: a directory, or a name that ends in .zip.
        checkpoint: a .pth with config.yaml beside it.
        length_stats: of the training set (stage 6).
        decoding: default options of generation, as stage 8's configuration has them.
        results: `result.json` of scored sets; those of other checkpoints are left out.
        train_text: transcripts of the training set, to say how text is written.

    Raises:
        InputError: a file is missing or damaged, or parts do not belong together.
    """
    from safetensors.torch import save

    from espnet_sld.inference.checkpoint import load_checkpoint
    from espnet_sld.models.backbone import resolved_config

    trained = load_checkpoint(checkpoint)
    config, model, template = trained.config, trained.model, trained.template
    if (template.condition_kind, template.target_kind) != ("speech", "text") or "image" in trained.tokenizers:
        images = " and images" * ("image" in trained.tokenizers)
        raise InputError(
            f"{checkpoint.parent}: a model of '{template.name}'{images} is no speech recogniser, "
            "as a pack needs it; decode it with bin.generate"
        )
    lists = [*units.token_lists, *_folders(config)]
    files = _token_lists(lists)
    info = common_info("model", units, card, git, files)
    check_clusters(units, info, config, checkpoint.parent)
    paths = {}
    for kind in ("speech", "text"):
        if config[f"{kind}_token_type"] == "hf":
            paths[kind] = f"{LISTS}/hf_{kind}"
            files |= save_hugging_face(trained.tokenizers[kind].model, paths[kind])
        elif config[f"{kind}_token_type"] == "unit":
            paths[kind] = None
        else:
            path = Path(config[f"{kind}_token_path"])
            folder = path if path.is_dir() else path.parent
            file = "tokens.txt" if config[f"{kind}_token_type"] in ("char", "word") else "bpe.model"
            paths[kind] = f"{LISTS}/{folder.name}/{file if path.is_dir() else path.name}"
    source = config.get("backbone_source")
    info |= {
        "model": {
            "type": model.backbone.config.model_type,
            "parameters": model.num_parameters(),
            "objective": (config.get("criterion_conf") or {}).get("objective", config["criterion"]),
            "seed": config.get("seed"),
            "initialised_from": Path(source).name if source and Path(source).exists() else source,
            "checkpoint": checkpoint.name,
        },
        "token_paths": paths,
        "text_normalisation": describe_text(train_text) if train_text else None,
        "lengths": _lengths(length_stats),
        "decoding": {**decoding, **trained.limits},
        "results": [result_of(values) for values in results if same_checkpoint(values, checkpoint.name)],
    }
    kept = {key: config[key] for key in MODEL_KEYS if key in config}
    kept["backbone_resolved"] = resolved_config(model.backbone)
    files[CONFIG] = json_bytes(kept)
    files[WEIGHTS] = save(_untied(model), {"format": "pt"})
    return pack_files(out, info, files)


def describe_text(path: Path) -> dict[str, str]:
    """How transcripts are written: case (lower, upper, mixed, none) and their characters."""
    seen: set[str] = set()
    for _, text in read_texts([path]):
        seen.update(text)
    case = {(True, False): "lower", (False, True): "upper", (True, True): "mixed", (False, False): "none"}
    key = any(c.islower() for c in seen), any(c.isupper() for c in seen)
    return {"case": case[key], "characters": "".join(sorted(seen - {" "}))[:MOST_CHARACTERS]}


def common_info(
    kind: str, units: Units | None, card: Card, git: str, files: dict[str, bytes | Path]
) -> dict[str, Any]:
    """What all kinds of pack say; adds the front-end's and k-means' files. No units: filterbanks."""
    info = {
        "kind": kind,
        "name": card.name,
        "license": card.license,
        "language": card.language,
        "datasets": list(card.datasets),
        "made_with": {"espnet_sld": __version__, "git": git},
    }
    if units is None:
        fbank = {"name": "fbank", "conf": {}, "digest": None, "included": False}
        return info | {"frontend": fbank, "units": None}
    if units.case not in CASES:
        raise InputError(f"unit case '{units.case}': must be {' or '.join(CASES)}")
    kmeans = KMeans.load(units.kmeans_dir, units.num_clusters)
    record = kmeans.info.get("frontend") or {}
    name, conf = (units.frontend, units.frontend_conf) if units.frontend else name_and_conf(record)
    front_end, more = describe_front_end(name, conf, record, include=units.include_frontend)
    files.update(more)
    # without the paths of this machine
    public = {key: value for key, value in kmeans.info.items() if key not in ("data_dir", "inputs")}
    with tempfile.TemporaryDirectory() as folder:
        KMeans(kmeans.centroids, public).save(folder)
        for path in files_of(folder, kmeans.num_clusters):
            files[f"{KMEANS}/{path.name}"] = path.read_bytes()
    return info | {
        "frontend": front_end,
        "units": {"num_clusters": kmeans.num_clusters, "case": units.case},
    }


def check_clusters(
    units: Units, info: Mapping[str, Any], config: Mapping[str, Any], experiment: Path
) -> None:
    """Whether a model of `config` was trained with the k-means that is packed; `info`: `common_info`'s.

    Raises:
        InputError: it has another number of clusters.
    """
    packed, trained = info["units"]["num_clusters"], int(config["num_clusters"])
    if packed != trained:
        raise InputError(
            f"{units.kmeans_dir} has {packed} clusters, the model in {experiment} {trained}; name the "
            "k-means that it was trained with"
        )


def pack_files(out: str | Path, info: dict[str, Any], files: dict[str, bytes | Path]) -> str:
    """Write a pack with its `pack.json` and card; returns its digest."""
    return write_pack(out, info["kind"], {**files, INFO: json_bytes(info), CARD: model_card(info)})


def _folders(config: Mapping[str, Any]) -> list[Path]:
    """Stage 5's directories that a configuration names."""
    found = []
    for kind in ("speech", "text"):
        path = config.get(f"{kind}_token_path")
        if path and config[f"{kind}_token_type"] != "hf" and Path(path).exists():
            found.append(Path(path) if Path(path).is_dir() else Path(path).parent)
    return found


def _token_lists(folders: Sequence[Path]) -> dict[str, bytes | Path]:
    """Files of stage 5's directories, below `token_list/<directory>/`; the training text stays behind."""
    files: dict[str, bytes | Path] = {}
    owners: dict[str, Path] = {}
    for folder in map(Path, folders):
        if owners.setdefault(folder.name, folder.resolve()) != folder.resolve():
            raise InputError(f"{folder} and {owners[folder.name]} have one name; pack only one of them")
        found = [name for name in LIST_FILES if (folder / name).is_file()]
        if "tokens.txt" not in found and "bpe.model" not in found:
            raise InputError(f"{folder}: no tokens.txt or bpe.model in it; run stage 5 first")
        files |= {f"{LISTS}/{folder.name}/{name}": folder / name for name in found}
    return files


def save_hugging_face(tokenizer: Any, folder: str) -> dict[str, bytes | Path]:
    """A Hugging Face tokenizer's files, below `folder` of the pack."""
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer.save_pretrained(temporary)
        return {f"{folder}/{path.name}": path.read_bytes() for path in sorted(Path(temporary).iterdir())}


def _untied(model: Any) -> dict[str, Any]:
    """The model's tensors, each storage once (a tied output matrix is left out)."""
    kept, seen = {}, set()
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen or not value.numel():
            kept[name] = value.detach().cpu().contiguous()
        seen.add(value.data_ptr())
    return kept


def _lengths(path: Path) -> dict[str, Any]:
    """What of length_stats.json decoding and splitting need."""
    try:
        stats = json.loads(path.read_text(encoding="utf-8"))
        return {
            "max_text_per_speech": float(stats["max_text_per_speech"]),
            "longest_speech": stats["speech"]["max"],
            "speech_tokens_per_second": stats.get("speech_tokens_per_second"),
        }
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that collects lengths (6)") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not length statistics ({error!r}); run stage 6 again") from None


def result_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a pack keeps of a `result.json`."""
    return {key: values[key] for key in RESULT_KEYS if key in values}


def same_checkpoint(values: Mapping[str, Any], checkpoint: str) -> bool:
    """Whether a `result.json` is this checkpoint's (or does not say)."""
    return values.get("checkpoint") in (None, checkpoint)
