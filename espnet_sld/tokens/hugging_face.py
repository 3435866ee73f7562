"""Hugging Face tokenizers for transcripts, from a directory or the hub."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError


class HuggingFaceTokenizer:
    """A Hugging Face tokenizer directory, or the name of one on the hub (fetched once, then from its cache).

    The special tokens that it would add by itself are left out.
    """

    def __init__(self, source: str | Path):
        from transformers import AutoTokenizer

        self.path = str(source)
        here = Path(self.path).expanduser()
        if not here.is_dir() and self.path.startswith((".", "/", "~")):
            raise InputError(f"{self.path}: no such directory; name one with a Hugging Face tokenizer")
        try:
            self.model = AutoTokenizer.from_pretrained(
                str(here) if here.is_dir() else self.path, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError) as error:
            remedy = "save one there with save_pretrained"
            if not here.is_dir():
                remedy = (
                    "check the name; on a machine without the hub, fetch it elsewhere with "
                    f"`hf download {self.path} --local-dir DIR` and give DIR instead"
                )
            first = (str(error).splitlines() or [""])[0]
            raise InputError(f"{self.path}: no Hugging Face tokenizer there ({first}); {remedy}") from None
        self.size = len(self.model)
        self.spare_id = self.model.eos_token_id
        unknown = self.model.unk_token_id
        self.unknown_id = None if unknown == self.spare_id else unknown  # byte-level: everything is known
        if self.spare_id is None:
            raise InputError(f"{self.path}: the tokenizer has no end-of-text token; name one with mask_token")

    def encode(self, text: str) -> list[int]:
        # Literal "<|endoftext|>" in a transcript must not become the token.
        return self.model.encode(text, add_special_tokens=False, split_special_tokens=True)

    def decode(self, ids: Sequence[int]) -> str:
        return self.model.decode(
            [int(index) for index in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def count_unknown(self, text: str) -> int:
        return 0 if self.unknown_id is None else self.encode(text).count(self.unknown_id)

    def token_id(self, name: str) -> int:
        vocabulary = self.model.get_vocab()
        if name not in vocabulary:
            raise InputError(f"{self.path}: no token '{name}'")
        return vocabulary[name]

    def describe(self) -> dict[str, Any]:
        # The content, not a file: a name has none here, and old directories have vocab.json and merges.txt.
        backend = getattr(self.model, "backend_tokenizer", None)
        content = str(sorted(self.model.get_vocab().items())) if backend is None else backend.to_str()
        digest = hashlib.sha256(content.encode()).hexdigest()
        return {"type": "hf", "path": self.path, "size": self.size, "digest": digest}
