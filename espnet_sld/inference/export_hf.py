"""The language model alone as a plain `transformers` directory, for servers that know no other code."""

from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.inference.archive import json_bytes, whole_directory
from espnet_sld.inference.checkpoint import TrainedModel
from espnet_sld.inference.unpack import Pack
from espnet_sld.tokens.subword import SPACE, Tokenizer

JOINT, CARD = "espnet_sld.json", "README.md"
OWN = ("config.json", JOINT)  # a directory with these may be replaced


def export_lm(pack: Pack, out_dir: str | Path) -> Path:
    """Write config, safetensors weights, generation config and a tokenizer that reads hypotheses.

    `generate` of the directory's model is greedy, chooses among text tokens and `<text_end>` only
    (`suppress_tokens`), and stops at `<text_end>`; given a prompt of `Speech2Text.prompt` and the same
    length bound, its hypotheses are those of this toolkit. `espnet_sld.json` has the id ranges and the
    allowed ids for servers that read no `suppress_tokens`.

    Raises:
        InputError: a pack without a model, or `out_dir` exists and is no such directory.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and not all((out_dir / name).is_file() for name in OWN):
        raise InputError(f"{out_dir}: exists and is no exported model; choose another name or remove it")
    if pack.info.get("task") == "ctc":
        raise InputError(f"{pack.root}: a CTC recogniser is no language model; there is nothing to export")
    trained = pack.trained()
    vocabulary, template = trained.vocabulary, trained.template
    end = vocabulary.id(template.end_token)
    text = vocabulary.range(template.target_kind)
    allowed = [index for index in text if index != trained.model.pad_id] + [end]
    with whole_directory(out_dir) as folder:
        _save_model(trained, folder, allowed, end)
        _save_tokenizer(trained, folder)
        joint = {
            "ranges": {kind: [block.start, block.stop] for kind, block in _ranges(trained).items()},
            "specials": {name: vocabulary.id(name) for name in vocabulary.specials},
            "prompt": "speech tokens, then <speech_end>; see Speech2Text.prompt",
            "eos_token_id": end,
            "allowed_token_ids": allowed,
            "max_new_tokens": trained.limits["max_text"] + 1,
            "pack": pack.digest,
        }
        (folder / JOINT).write_bytes(json_bytes(joint))
        with atomic_write(folder / CARD) as stream:
            stream.write(README.format(name=pack.info["name"], license=pack.info["license"]))
    return out_dir


def _ranges(trained: TrainedModel) -> dict[str, range]:
    return {kind: trained.vocabulary.range(kind) for kind in ("text", "speech")}


def _save_model(trained: TrainedModel, folder: Path, allowed: list[int], end: int) -> None:
    from transformers import GenerationConfig

    model = trained.model.backbone
    model.config.eos_token_id, model.config.pad_token_id = end, trained.model.pad_id
    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=end,
        pad_token_id=trained.model.pad_id,
        suppress_tokens=sorted(set(range(trained.vocabulary.size)) - set(allowed)),
        max_new_tokens=trained.limits["max_text"] + 1,
    )
    model.save_pretrained(folder)


def _save_tokenizer(trained: TrainedModel, folder: Path) -> None:
    """A tokenizer that decodes the text of hypotheses; it leaves encoding speech to `Speech2Text`."""
    from transformers import PreTrainedTokenizerFast

    text = trained.tokenizers["text"]
    model = getattr(text, "model", None)
    if hasattr(model, "save_pretrained"):  # a Hugging Face tokenizer, which the joint ids go on from
        tokenizer = model
    else:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=_reader(text), clean_up_tokenization_spaces=False
        )
    specials = list(trained.vocabulary.specials[:2])
    tokenizer.add_special_tokens({"additional_special_tokens": specials})
    wrong = [
        name for name in specials if tokenizer.convert_tokens_to_ids(name) != trained.vocabulary.id(name)
    ]
    if wrong:
        raise InputError(f"the text tokenizer has a token {wrong[0]} of its own; it cannot be exported")
    tokenizer.eos_token = trained.template.end_token
    tokenizer.save_pretrained(folder)


def _reader(text: Tokenizer) -> Any:
    """`tokenizers`' form of a SentencePiece model or a token list, as far as decoding goes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if hasattr(text, "model"):
        sentencepiece = text.model
        rows = [(sentencepiece.id_to_piece(i), sentencepiece.get_score(i)) for i in range(text.size)]
        tokenizer = Tokenizer(models.Unigram(rows, unk_id=text.unknown_id))
        tokenizer.decoder = decoders.Metaspace()
        silent = [piece for index, (piece, _) in enumerate(rows) if sentencepiece.is_control(index)]
    else:
        tokenizer = Tokenizer(models.WordLevel({token: n for n, token in enumerate(text.tokens)}, "<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        if text.token_type == "char":
            tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.Fuse()])
        silent = [text.tokens[0], text.tokens[-1]]
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in silent])
    return tokenizer


README = """---
license: {license}
---

# {name}: the language model alone

A plain causal language model over text and discrete speech tokens; `transformers` loads it as it is.
Prompts are speech token ids, made from audio by `espnet_sld`:

```python
import torch, espnet_sld
from transformers import AutoModelForCausalLM, AutoTokenizer

speech2text = espnet_sld.Speech2Text.from_pretrained(PACK)  # or only its prompts, on another machine
speech = speech2text.tokenizer([speech2text.read("speech.wav")])[0]
prompt = torch.tensor(speech2text.prompt(speech))[None]

model, tokenizer = AutoModelForCausalLM.from_pretrained(DIR), AutoTokenizer.from_pretrained(DIR)
output = model.generate(prompt, attention_mask=torch.ones_like(prompt))
print(tokenizer.decode(output[0, prompt.size(1):], skip_special_tokens=True))
```

`generation_config.json` suppresses all ids but text and stops at `<text_end>`. Tested is `generate` as above.
The directory is a standard one, which servers of causal language models load; none was tried.
One that does not read `suppress_tokens` needs the `allowed_token_ids` of `espnet_sld.json` with each request.
The tokenizer decodes hypotheses; it does not encode speech.
"""
