"""Tokenizers with one small interface: SentencePiece, token lists, plain units; Hugging Face's next door."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from espnet_sld.errors import InputError
from espnet_sld.stamps import file_digest
from espnet_sld.units.unit_text import check_num_clusters, ids_to_text, text_to_ids

BLANK, UNKNOWN, SPACE, SOS_EOS = "<blank>", "<unk>", "<space>", "<sos/eos>"
_SAMPLING = threading.Lock()  # SentencePiece's seed is one for the whole process


class Tokenizer(Protocol):
    """Text ↔ ids 0 … size−1.

    Attributes:
        size: number of ids, all specials of the tokenizer included.
        spare_id: an id that encoded text never has; the model's pad and mask (None: there is none).
        unknown_id: what unknown text becomes (None: everything is known).
    """

    size: int
    spare_id: int | None
    unknown_id: int | None

    def encode(self, text: str) -> list[int]:
        """Text → ids."""

    def decode(self, ids: Sequence[int]) -> str:
        """Ids → text; the tokenizer's own specials vanish, unknown stays visible."""

    def count_unknown(self, text: str) -> int:
        """How many characters (words, for a word list) of `text` the tokenizer does not know."""

    def token_id(self, name: str) -> int:
        """Id of a token by its name (for `mask_token`); InputError if there is none."""

    def describe(self) -> dict[str, Any]:
        """What it is, for configurations and reports."""


class SentencePieceTokenizer:
    """A SentencePiece model. Ids are SentencePiece's own: 0 `<unk>`, 1 `<s>`, 2 `</s>`, then the pieces."""

    spare_id = 1  # <s>: encode never gives it

    def __init__(self, model_path: str | Path):
        import sentencepiece

        self.path = Path(model_path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such SentencePiece model; train it first (stage 5)")
        try:
            self.model = sentencepiece.SentencePieceProcessor(model_file=str(self.path))
        except (RuntimeError, OSError) as error:
            raise InputError(f"{self.path}: not a SentencePiece model ({error}); train it again") from None
        self.size = self.model.get_piece_size()
        self.unknown_id = self.model.unk_id()

    def encode(self, text: str) -> list[int]:
        return self.model.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.model.decode([int(index) for index in ids])

    def count_unknown(self, text: str) -> int:
        # A run of unknown characters is one <unk>, so ids alone would undercount.
        pieces = self.model.encode(text, out_type=str)
        ids = self.model.piece_to_id(pieces)
        return sum(len(piece) for piece, index in zip(pieces, ids, strict=True) if index == self.unknown_id)

    def token_id(self, name: str) -> int:
        index = self.model.piece_to_id(name)
        if self.model.id_to_piece(index) != name:
            raise InputError(f"{self.path}: no piece '{name}'")
        return index

    def describe(self) -> dict[str, Any]:
        return {
            "type": "sentencepiece",
            "path": str(self.path),
            "size": self.size,
            "digest": file_digest(self.path),
        }


class UnitPieceTokenizer(SentencePieceTokenizer):
    """SentencePiece over unit text. Decoding gives exactly the encoded units, as long as all are known.

    A cluster that never occurred in training is `<unk>`: `count_unknown` counts such units.
    """

    def __init__(self, model_path: str | Path, num_clusters: int):
        check_num_clusters(num_clusters)
        super().__init__(model_path)
        self.num_clusters = num_clusters

    @property
    def silent_ids(self) -> list[int]:
        """Ids that stand for no unit: SentencePiece's own, and a lone word boundary."""
        pieces = enumerate(self.model.id_to_piece(list(range(self.size))))
        return [index for index, piece in pieces if index < 3 or not piece.strip("\u2581")]

    def encode(self, text: str) -> list[int]:
        text_to_ids(text, self.num_clusters)  # refuses what is no unit
        return super().encode(text)

    def sample(self, text: str, strength: float, seed: int) -> list[int]:
        """A random segmentation of `text`; `seed` (0 … 2³²−2) alone decides, not what was drawn before.

        Args:
            strength: for a bpe model the probability that a merge is dropped (BPE-dropout, arXiv 1910.13267);
                for a unigram model α, the power of the segmentations' probabilities, over all of them
                (subword regularisation, arXiv 1804.10959): small is flat, large is the best one alone.
        """
        import sentencepiece

        text_to_ids(text, self.num_clusters)
        # A thread's generator takes the seed when it is first used and never again: each draw has its own.
        with _SAMPLING, ThreadPoolExecutor(1) as thread:
            sentencepiece.set_random_generator_seed(seed)
            options = {"enable_sampling": True, "alpha": strength, "nbest_size": -1}
            return thread.submit(self.model.encode, text, **options).result()

    def decode(self, ids: Sequence[int]) -> str:
        return super().decode(ids).replace(" ", "")  # a boundary piece may be generated anywhere

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "type": "unit_sentencepiece", "num_clusters": self.num_clusters}


class UnitTokenizer:
    """No subwords: a unit's id is its cluster, V_s = K. Any character that is no unit raises InputError."""

    spare_id = None
    unknown_id = None

    def __init__(self, num_clusters: int):
        check_num_clusters(num_clusters)
        self.size = num_clusters

    def encode(self, text: str) -> list[int]:
        return text_to_ids(text, self.size).tolist()

    def decode(self, ids: Sequence[int]) -> str:
        return ids_to_text(ids)

    def count_unknown(self, text: str) -> int:
        return 0

    def token_id(self, name: str) -> int:
        return int(text_to_ids(name, self.size)[0])

    def describe(self) -> dict[str, Any]:
        return {"type": "unit", "size": self.size}


class TokenListTokenizer:
    """ESPnet's tokens.txt with characters (space is `<space>`) or words split at spaces."""

    spare_id = 0  # <blank>
    unknown_id = 1

    def __init__(self, tokens_txt: str | Path, token_type: str):
        self.path, self.token_type = Path(tokens_txt), token_type
        if token_type not in ("char", "word"):
            raise InputError(f"token list type '{token_type}': must be char or word")
        try:
            self.tokens = self.path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such token list; write it first (stage 5)") from None
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: not UTF-8; write the list again (stage 5)") from None
        if self.tokens and not self.tokens[-1]:
            self.tokens.pop()
        self.index = {token: number for number, token in enumerate(self.tokens)}
        if len(self.index) != len(self.tokens):
            raise InputError(f"{self.path}: a token occurs twice; write the list again (stage 5)")
        if self.tokens[:2] != [BLANK, UNKNOWN] or self.tokens[-1] != SOS_EOS:
            raise InputError(f"{self.path}: must start with {BLANK}, {UNKNOWN} and end with {SOS_EOS}")
        self.size = len(self.tokens)

    def _split(self, text: str) -> list[str]:
        if self.token_type == "word":
            return text.split()
        return [SPACE if character == " " else character for character in text]

    def encode(self, text: str) -> list[int]:
        # Words such as "<blank>" in a transcript are text, not the list's own specials.
        return [max(self.index.get(token, 1), 1) if token != SOS_EOS else 1 for token in self._split(text)]

    def decode(self, ids: Sequence[int]) -> str:
        tokens = [self.tokens[index] for index in ids if 0 < index < self.size - 1]
        if self.token_type == "word":
            return " ".join(tokens)
        return "".join(" " if token == SPACE else token for token in tokens)

    def count_unknown(self, text: str) -> int:
        return self.encode(text).count(1)

    def token_id(self, name: str) -> int:
        if name not in self.index:
            raise InputError(f"{self.path}: no token '{name}'")
        return self.index[name]

    def describe(self) -> dict[str, Any]:
        return {
            "type": self.token_type,
            "path": str(self.path),
            "size": self.size,
            "digest": file_digest(self.path),
        }


def _file(path: str | Path, name: str) -> Path:
    """`path` itself, or the file of that name in it if it is a directory."""
    path = Path(path)
    return path / name if path.is_dir() else path


def build_text_tokenizer(token_type: str, path: str | Path) -> Tokenizer:
    """Tokenizer for transcripts.

    Args:
        token_type: bpe | unigram (a bpe.model), char | word (a tokens.txt), hf (a Hugging Face tokenizer).
        path: the file, or the directory that has it; for hf the directory, or a name on the hub.
    """
    if token_type in ("bpe", "unigram"):
        return SentencePieceTokenizer(_file(path, "bpe.model"))
    if token_type in ("char", "word"):
        return TokenListTokenizer(_file(path, "tokens.txt"), token_type)
    if token_type == "hf":
        from espnet_sld.tokens.hugging_face import HuggingFaceTokenizer

        return HuggingFaceTokenizer(path)
    raise InputError(f"text token type '{token_type}': must be bpe, unigram, char, word or hf")


def build_unit_tokenizer(token_type: str, path: str | Path | None, num_clusters: int) -> Tokenizer:
    """Tokenizer for unit text.

    Args:
        token_type: unit (no subwords; `path` is not used), unigram | bpe (a bpe.model).
        num_clusters: K.
    """
    if token_type == "unit":
        return UnitTokenizer(num_clusters)
    if token_type in ("unigram", "bpe"):
        if path is None:
            raise InputError(f"unit token type '{token_type}' needs the path of its bpe.model")
        return UnitPieceTokenizer(_file(path, "bpe.model"), num_clusters)
    raise InputError(f"unit token type '{token_type}': must be unit, unigram or bpe")
