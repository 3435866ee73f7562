"""README.md of a pack: what Hugging Face reads (YAML), figures, how to use it."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

CODE = "https://arxiv.org/abs/2311.04534"
CTC = "https://arxiv.org/abs/2401.11700"


def model_card(info: Mapping[str, Any]) -> bytes:
    """The card of a pack from its `pack.json`."""
    name, model = info["name"], info["kind"] == "model"
    front = {
        "license": info["license"],
        "language": info["language"],
        "library_name": "espnet_sld",
        "tags": [
            "espnet_sld",
            "discrete-tokens",
            "automatic-speech-recognition" if model else "speech-units",
        ],
    }
    if model:
        front["pipeline_tag"] = "automatic-speech-recognition"
    if info["datasets"]:
        front["datasets"] = info["datasets"]
    if info["results"]:
        front["model-index"] = [{"name": name, "results": [_entry(result) for result in info["results"]]}]
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    parts = [f"---\n{header}---", f"# {name}", _model_text(info) if model else _tokenizer_text(info)]
    parts += ["## Units and tokens", _table(("what", "value"), _facts(info))]
    if model:
        parts += ["## Figures", _figures(info["results"])]
    parts += ["## Files", FILES]
    return ("\n\n".join(parts) + "\n").encode()


def _entry(result: Mapping[str, Any]) -> dict[str, Any]:
    """One set's word error rate as the hub's `model-index` has it."""
    return {
        "task": {"type": "automatic-speech-recognition"},
        "dataset": {"name": result["set"], "type": result["set"]},
        "metrics": [
            {"type": "wer", "name": f"WER, {result['decode_tag']}", "value": round(result["wer"], 2)}
        ],
    }


def _model_text(info: Mapping[str, Any]) -> str:
    model = info["model"]
    origin = f", initialised from {model['initialised_from']}" if model["initialised_from"] else ""
    ctc = info.get("task") == "ctc"
    what = (
        f"Parallel speech recognition by greedy CTC, trained as in [arXiv 2401.11700]({CTC})"
        if ctc
        else f"Decoder-only speech recognition on discrete tokens, as in [arXiv 2311.04534]({CODE})"
    )
    longer = "is longer than 30 s" if ctc else f"does not fit {info['decoding']['max_positions']} tokens"
    times = "the frames at which CTC emits them" if ctc else "the model's likelihood"
    return (
        f"{what}: {model['type']} of {model['parameters'] / 1e6:.1f} M parameters{origin}, "
        f"objective `{model['objective']}`, seed {model['seed']}.\n\n"
        "```python\nimport espnet_sld\n\n"
        f'speech2text = espnet_sld.Speech2Text.from_pretrained("{name_or_path(info)}")\n'
        'print(speech2text("speech.wav").text)\n```\n\n'
        f"```sh\nespnet-sld-transcribe --model {name_or_path(info)} speech.wav\n```\n\n"
        f"Trained on whole utterances; audio that {longer} is cut at pauses. Word times follow from {times} "
        "and are approximate."
    )


def _tokenizer_text(info: Mapping[str, Any]) -> str:
    return (
        "Speech units, ready made: front-end, k-means centroids and subword models; no language model. "
        "`tokenize.sh --tokenizer <this>` turns any Kaldi data directory into ESPnet asr2's token files with "
        "them, fitting nothing."
    )


def name_or_path(info: Mapping[str, Any]) -> str:
    """What a reader types: the name that the pack was given."""
    return info["name"]


def _facts(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    frontend, units = info["frontend"], info["units"]
    settings = " ".join(f"{key}={value}" for key, value in frontend["conf"].items())
    weights = (
        "in the pack" if frontend["included"] else "none needed" if not frontend["digest"] else "by name"
    )
    rows = [
        ("front-end", f"`{frontend['name']}` {settings}".strip()),
        ("front-end's weights", weights + (f", digest {frontend['digest']}" if frontend["digest"] else "")),
    ]
    if units is not None:
        rows += [
            ("k-means clusters", str(units["num_clusters"])),
            ("unit sequence", "equal neighbours joined" if units["case"] == "rm" else "every frame"),
        ]
    text = info.get("text_normalisation")
    if text:
        rows.append(("text", f"{text['case']} case; characters `{text['characters']}`"))
    return rows


def _figures(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "None were measured with this checkpoint before it was packed."
    rows = [
        (
            result["decode_tag"], result["set"], f"{result['wer']:.2f}", f"{result['cer']:.2f}",
            f"{result['sub']}/{result['ins']}/{result['del']} of {result['ref_words']}",
        )
        for result in results
    ]  # fmt: skip
    note = "Error rates in percent; substituted, inserted and deleted words of the reference's."
    return _table(("decoding", "set", "WER", "CER", "S/I/D of words"), rows) + "\n\n" + note


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(row):
        return [str(cell).replace("\n", " ").replace("|", "\\|") for cell in row]

    lines = [header, ["---"] * len(header), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


FILES = (
    "`manifest.json` has the SHA-256 digest of every file but this one; loading verifies them. Weights and "
    "centroids are safetensors, the rest JSON, SentencePiece models and token lists: nothing is unpickled."
)
