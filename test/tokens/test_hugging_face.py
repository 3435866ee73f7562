"""Hugging Face tokenizers by directory and by name: known by content; offline, an error says what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_sld.errors import InputError
from espnet_sld.tokens.subword import build_text_tokenizer

COMMIT = "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"


def train(folder: Path, texts: list[str], *, old_files: bool = False) -> Path:
    """A small byte-level BPE: tokenizer.json, or GPT-2's first files, vocab.json and merges.txt."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=280, special_tokens=["<|endoftext|>"], show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    if old_files:
        trained.save_model(str(folder))
        (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    else:
        end = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token="<|endoftext|>")
        end.save_pretrained(folder)
    return folder


def test_a_description_changes_with_the_content_and_not_with_the_place(tmp_path):
    texts = ["the cat sat on the mat"] * 3
    one, same, other = (
        build_text_tokenizer("hf", train(tmp_path / name, words)).describe()
        for name, words in (("a", texts), ("b", texts), ("c", ["a dog lay under the table"] * 3))
    )
    assert one["digest"] == same["digest"] != other["digest"]
    assert one["size"] == same["size"]


def test_a_directory_with_gpt2s_first_files_is_read(tmp_path):
    tokenizer = build_text_tokenizer("hf", train(tmp_path / "gpt2", ["low lower lowest"] * 3, old_files=True))
    assert tokenizer.decode(tokenizer.encode("lowest cat")) == "lowest cat"
    assert tokenizer.spare_id == tokenizer.token_id("<|endoftext|>")
    assert len(tokenizer.describe()["digest"]) == 64


@pytest.mark.parametrize("path", ["./nothing/here", "/nothing/here"])
def test_a_path_that_is_not_there_is_never_asked_of_the_hub(path):
    with pytest.raises(InputError, match="no such directory"):
        build_text_tokenizer("hf", path)


def test_a_directory_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no Hugging Face tokenizer there .*save_pretrained"):
        build_text_tokenizer("hf", tmp_path)


# By name: a backbone and its tokenizer out of the hub's cache, as it is after one download.
BY_NAME = """
import sys
from espnet_sld.errors import InputError
from espnet_sld.models.backbone import build_backbone, revision
from espnet_sld.tokens.subword import build_text_tokenizer

tokenizer = build_text_tokenizer("hf", "someone/gpt2-tiny")
model = build_backbone("someone/gpt2-tiny", {}, 300, text_vocabulary=tokenizer.size)
assert model.get_input_embeddings().weight.size(0) == 300
print(tokenizer.decode(tokenizer.encode("the cat")), revision("someone/gpt2-tiny"), revision(None))
attempts = [(build_text_tokenizer, ("hf", "someone/else")), (build_backbone, ("someone/else", {}, 9))]
for build, arguments in attempts:
    try:
        build(*arguments)
    except InputError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_name_is_read_from_the_cache_and_its_revision_recorded(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    repository = tmp_path / "hub" / "models--someone--gpt2-tiny"
    snapshot = repository / "snapshots" / COMMIT
    train(snapshot, ["the cat sat on the mat"] * 3)
    GPT2LMHeadModel(GPT2Config(vocab_size=280, n_embd=8, n_layer=1, n_head=2)).save_pretrained(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BY_NAME], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *errors = done.stdout.splitlines()
    assert first == f"the cat {COMMIT} None"
    assert len(errors) == 2
    for error in errors:
        assert "someone/else" in error and "hf download someone/else --local-dir DIR" in error
