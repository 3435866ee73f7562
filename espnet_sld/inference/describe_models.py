"""Models in words: experiments, checkpoints, packs, soft labels. Torch only for a checkpoint."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.inference.archive import MANIFEST, read_manifest, verify_directory, zip_manifest
from espnet_sld.inference.description import Description, Kind, first_line, number, pairs, read_json, size

INFO = "pack.json"


# -- experiments --------------------------------------------------------------------------------------
def _is_experiment(path: Path) -> bool:
    return (path / "config.yaml").is_file() and (any(path.glob("train.*")) or any(path.glob("*.pth")))


def _experiment(path: Path) -> Description:
    import yaml

    try:
        conf = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        conf = conf if isinstance(conf, dict) else {}
    except yaml.YAMLError as error:
        raise InputError(f"{path / 'config.yaml'}: not YAML ({str(error).splitlines()[0]})") from None
    options = conf.get("criterion_conf") or {}
    ctc = "target_vocabulary" in conf
    facts = [("objective", _objective(conf, options)), ("model", _model(conf))]
    if sizes := conf.get("vocabulary"):
        counts = [f"{name} {number(sizes[name])}" for name in ("text", "speech", "image") if sizes.get(name)]
        facts.append(("vocabulary", f"{', '.join(counts)}, specials {' '.join(sizes.get('specials', []))}"))
    data = [triple[0] for triple in conf.get("train_data_path_and_name_and_type") or []]
    facts.append(("trained on", ", ".join(data) or str(conf.get("mixture") or "unknown")))
    if tasks := conf.get("mixture_tasks"):
        facts.append(("tasks", ", ".join(tasks)))
    facts.append(("seed", str(conf.get("seed"))))
    facts.append(("state", _state(path)))
    checkpoints = sorted(file.name for file in path.glob("*.pth"))
    facts.append(("checkpoints", ", ".join(checkpoints) or "none"))
    example = ""
    for result in sorted(path.glob("*/*/result.json")):
        values = read_json(result)
        rates = [f"{name.upper()} {values[name]:.2f} %" for name in ("wer", "cer") if name in values]
        if "sub" in values:
            errors = "/".join(str(values[name]) for name in ("sub", "ins", "del"))
            rates.append(f"S/I/D {errors} of {number(values['ref_words'])} words")
        facts.append((f"{result.parts[-3]}/{result.parts[-2]}", ", ".join(rates)))
        example = example or first_line(result.parent / "text")
    hint = "bin.decode_ctc" if ctc else "bin.generate" if conf.get("mixture") else "bin.decode"
    what = "an experiment: a CTC recogniser" if ctc else "an experiment: a decoder-only language model"
    return Description(what, facts, example, f"python -m espnet_sld.{hint} --exp_dir {path} …")


def _objective(conf: dict[str, Any], options: dict[str, Any]) -> str:
    name = options.get("objective") or options.get("row") or conf.get("criterion") or "unknown"
    numbers = [f"{key} {value}" for key, value in options.items() if isinstance(value, int | float)]
    return f"{name}{' (' + ', '.join(numbers) + ')' if numbers else ''}"


def _model(conf: dict[str, Any]) -> str:
    if conf.get("encoder"):
        encoder = conf.get("encoder_conf") or {}
        size_of = ", ".join(
            f"{key} {encoder[key]}" for key in ("num_blocks", "output_size") if key in encoder
        )
        return f"{conf['encoder']}{', ' + size_of if size_of else ''}"
    made = conf.get("backbone_resolved") or conf.get("backbone_conf") or {}
    keys = ("num_hidden_layers", "n_layer", "hidden_size", "n_embd", "num_attention_heads", "n_head")
    size_of = ", ".join(f"{key} {made[key]}" for key in keys if key in made)
    source = conf.get("backbone_source")
    return f"{made.get('model_type', 'unknown')}{', ' + size_of if size_of else ''}; " + (
        f"started from {source}" if source else "from scratch"
    )


def _state(path: Path) -> str:
    if (path / "train.done.json").is_file():
        return "training finished"
    if (path / "train.begun.json").is_file():
        return "training begun, not finished; the same command (run.sh) goes on"
    return "unknown (no record of the training)"


def _is_checkpoint(path: Path) -> bool:
    return path.suffix == ".pth" and path.is_file()


def _checkpoint(path: Path) -> Description:
    from espnet_sld.inference.checkpoint import read_parameters

    parameters = read_parameters(path)
    largest = max(parameters, key=lambda name: parameters[name].numel())
    count = sum(tensor.numel() for tensor in parameters.values())
    types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in parameters.values()})
    beside = "" if (path.parent / "config.yaml").is_file() else " (no config.yaml)"
    facts = [
        ("parameters", f"{number(count)} in {number(len(parameters))} tensors, {', '.join(types)}"),
        ("file", size(path.stat().st_size)),
        ("experiment", f"{path.parent}{beside}"),
    ]
    shape = " × ".join(map(str, parameters[largest].shape))
    state = "a training's whole state" if path.name == "checkpoint.pth" else "a checkpoint of parameters"
    return Description(state, facts, f"{largest}: {shape}", f"python -m espnet_sld.bin.inspect {path.parent}")


# -- packs --------------------------------------------------------------------------------------------
def _is_pack(path: Path) -> bool:
    if path.is_dir():
        return (path / MANIFEST).is_file() and (path / INFO).is_file()
    return path.suffix == ".zip" and path.is_file()


def _pack(path: Path) -> Description:
    if path.is_dir():
        manifest, digest = verify_directory(path)
        info, checked = read_json(path / INFO), f"{digest} (all files match)"
    else:
        manifest = read_manifest(zip_manifest(path), path)
        with zipfile.ZipFile(path) as archive:
            if INFO not in archive.namelist() or archive.getinfo(INFO).file_size > 1 << 20:
                raise InputError(f"{path}: no {INFO} in it, or too long a one; pack again")
            try:
                info = dict(json.loads(archive.read(INFO)))
            except (zipfile.BadZipFile, zlib.error, ValueError, TypeError, RecursionError) as error:
                raise InputError(f"{path}: its {INFO} is damaged ({error}); pack again") from None
        checked = "files are verified when it is unpacked or used"
    files = manifest["files"]
    model, frontend = info.get("model") or {}, info.get("frontend") or {}
    facts = [("name", f"{info.get('name')}, licence {info.get('license')}, language {info.get('language')}")]
    if model:
        facts.append(("model", f"{model.get('type')}, {number(model.get('parameters', 0))} parameters"))
        facts.append(("objective", f"{model.get('objective')}, seed {model.get('seed')}"))
    facts.append(("front-end", f"{frontend.get('name')} {pairs(frontend.get('conf') or {})}".strip()))
    if units := info.get("units"):
        facts.append(("units", f"{units['num_clusters']} clusters, {units.get('case', 'unknown case')}"))
    for result in info.get("results") or []:
        facts.append((str(result.get("set", "figures")), f"WER {result.get('wer')} %"))
    facts.append(("files", f"{len(files)}, {size(sum(entry['bytes'] for entry in files.values()))}"))
    facts.append(("digest", checked))
    kind = manifest["kind"]
    what = "a packed model" if kind == "model" else "a packed tokeniser (units and subwords, no model)"
    hint = (
        f"espnet-sld-transcribe --model {path} AUDIO" if kind == "model" else f"./run.sh --tokenizer {path}"
    )
    largest = max(files, key=lambda name: files[name]["bytes"])
    return Description(what, facts, f"{largest}, {size(files[largest]['bytes'])}", hint)


# -- soft labels, language models, vocoders -------------------------------------------------------------
def _is_soft_labels(path: Path) -> bool:
    return path.suffix == ".safetensors" and path.with_name(f"{path.name}.json").is_file()


def _soft_labels(path: Path) -> Description:
    from espnet_sld.models.soft_label_store import SoftLabelStore

    store = SoftLabelStore(path)
    report, utterance = store.report, next(iter(store.index))
    labels = store.get(utterance)
    best = " ".join(f"{token}:{p:.3f}" for token, p in zip(labels.ids[0], labels.probs[0], strict=True))
    facts = [
        ("utterances", f"{number(len(store))} with {number(report['transcripts'])} transcripts"),
        ("tokens", f"{number(report['tokens'])}, the teacher's {store.k} best at each"),
        ("temperature", str(report["temperature"])),
        ("reference", f"among the {store.k} best at {100 * report['references_in_top_k']:.1f} % of tokens"),
        ("teacher", f"pseudo-perplexity {report['pseudo_perplexity']:.2f}"),
        ("file", size(path.stat().st_size)),
    ]
    return Description("soft labels of a masked LM", facts, f"{utterance}, token 0: {best}")


def _is_hugging_face(path: Path) -> bool:
    return (path / "config.json").is_file() and not (path / MANIFEST).is_file()


def _hugging_face(path: Path) -> Description:
    conf = read_json(path / "config.json")
    if "model_type" not in conf:
        raise InputError(f"{path / 'config.json'}: no model_type in it; it is no Hugging Face directory")
    weights = [*sorted(path.glob("*.safetensors")), *sorted(path.glob("*.bin"))]
    facts = [
        ("type", f"{conf['model_type']} {' '.join(conf.get('architectures') or [])}".strip()),
        ("vocabulary", str(conf.get("vocab_size", "unknown"))),
        ("layers", str(conf.get("num_hidden_layers", conf.get("n_layer", "unknown")))),
        ("width", str(conf.get("hidden_size", conf.get("n_embd", "unknown")))),
        ("weights", ", ".join(f"{file.name} {size(file.stat().st_size)}" for file in weights) or "none"),
    ]
    return Description("a Hugging Face model directory", facts, first_line(path / "vocab.txt"))


def _is_vocoder(path: Path) -> bool:
    return (path / "vocoder.json").is_file()


def _vocoder(path: Path) -> Description:
    record = read_json(path / "vocoder.json")
    speakers = record.get("speakers") or []
    facts = [
        ("units", str(record.get("num_units", "unknown"))),
        ("speakers", f"{len(speakers)}: {', '.join(map(str, speakers[:6]))}"),
        ("mel", json.dumps(record.get("mel") or {})),
        ("weights", size((path / "model.safetensors").stat().st_size)),
    ]
    return Description("a unit vocoder", facts, "", "python -m espnet_sld.bin.synthesise …")


MODEL_KINDS = (
    Kind("experiment", _is_experiment, _experiment),
    Kind("checkpoint", _is_checkpoint, _checkpoint),
    Kind("pack", _is_pack, _pack),
    Kind("soft labels", _is_soft_labels, _soft_labels),
    Kind("vocoder", _is_vocoder, _vocoder),
    Kind("Hugging Face model", _is_hugging_face, _hugging_face),
)
