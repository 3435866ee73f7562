"""Transcripts as the ids of a CTC or attention recogniser: places in `tokens.txt`, as ESPnet counts them."""

from collections.abc import Sequence
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.tokens.subword import BLANK, SOS_EOS, UNKNOWN, SentencePieceTokenizer, TokenListTokenizer

TARGET_TYPES = ("char", "word", "bpe", "hf")


class TargetIds:
    """Text ↔ places in a token list: `<blank>` is 0, `<unk>` 1, `<sos/eos>` the last.

    For char and word the list's entries are the tokens. For bpe they are a SentencePiece model's pieces, for
    hf a Hugging Face tokenizer's tokens; what the list lacks is `<unk>`. These are the ids of ESPnet's own
    token lists, not those of SentencePiece or of the Hugging Face tokenizer.

    Args:
        token_type: char | word | bpe | hf.
        token_list: tokens.txt, see `tokens.train`.
        model: bpe: the bpe.model. hf: the tokenizer's directory or name.

    Raises:
        InputError: a file is missing or malformed, or a type without its model.
    """

    def __init__(self, token_type: str, token_list: str | Path, model: str | Path | None = None):
        if token_type not in TARGET_TYPES:
            raise InputError(f"token type '{token_type}': must be {', '.join(TARGET_TYPES)}")
        self.token_type = token_type
        self._list = TokenListTokenizer(token_list, "char" if token_type == "char" else "word")
        self.tokens: list[str] = self._list.tokens
        self.size = len(self.tokens)
        self._model = None
        if token_type in ("bpe", "hf"):
            if not model:
                raise InputError(f"token type '{token_type}' needs its model, --bpemodel")
            if token_type == "bpe":
                self._model = SentencePieceTokenizer(model).model
            else:
                self._model = _hugging_face(model)

    def encode(self, text: str) -> list[int]:
        """Ids 1 … size−2."""
        if self._model is None:
            return self._list.encode(text)
        if self.token_type == "bpe":
            pieces = self._model.encode(text, out_type=str)
        else:  # a literal "[MASK]" in a transcript must not become the token
            ids = self._model.encode(text, add_special_tokens=False, split_special_tokens=True)
            pieces = self._model.convert_ids_to_tokens(ids)
        # A piece that is spelled as one of the list's own specials is unknown text.
        known = (self._list.index.get(piece, 1) for piece in pieces)
        return [place if 0 < place < self.size - 1 else 1 for place in known]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; the list's specials vanish, `<unk>` stays visible."""
        if self._model is None:
            return self._list.decode(ids)
        pieces = [self.tokens[place] for place in ids if 0 < place < self.size - 1]
        if self.token_type == "bpe":
            return self._model.decode(pieces)
        return self._model.convert_tokens_to_string(pieces)


def hf_token_list(model: str | Path) -> list[str]:
    """Token list of a student on a Hugging Face tokenizer's vocabulary: its tokens without the specials.

    Raises:
        InputError: no tokenizer there, or one of its tokens cannot stand in a list.
    """
    tokenizer = _hugging_face(model)
    special = set(tokenizer.all_special_tokens)
    ranked = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = [token for token, _ in ranked if token not in special]
    wrong = [token for token in tokens if "\n" in token or token in (BLANK, UNKNOWN, SOS_EOS)]
    if wrong:
        raise InputError(f"{model}: its token {wrong[0]!r} cannot stand in a token list")
    return [BLANK, UNKNOWN, *tokens, SOS_EOS]


def _hugging_face(source: str | Path):
    """A tokenizer from a directory or the hub's cache. BERT's has no end of text, which ours insists on."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{source}: no Hugging Face tokenizer there ({first}); name a directory that has one"
        ) from None
