"""Training subword models and token lists, files as ESPnet's asr2 has them."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, write_json
from espnet_sld.stamps import Stamp
from espnet_sld.tokens.subword import BLANK, SOS_EOS, SPACE, UNKNOWN, SentencePieceTokenizer
from espnet_sld.tokens.texts import read_texts

NUM_THREADS = 4  # part of SentencePiece's result, hence fixed and not the machine's number of cores
MODEL_TYPES = ("unigram", "bpe", "char", "word")


def train_subword(
    inputs: Sequence[str | Path],
    out_dir: str | Path,
    *,
    kind: str,
    model_type: str,
    vocab_size: int = 0,
    character_coverage: float = 1.0,
    user_defined_symbols: Sequence[str] = (),
    input_sentence_size: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Train; write tokens.txt, train.txt, subword.json and, for unigram and bpe, bpe.model and bpe.vocab.

    `tokens.txt` is `<blank>`, `<unk>`, the pieces less SentencePiece's first three (or characters or words
    by falling frequency), `<sos/eos>`. The same inputs and options give the same bytes; an up-to-date
    `out_dir` is left as it is.

    Args:
        inputs: Kaldi `text` files (`utt text`).
        kind: "unit" (text of CJK characters without spaces) or "text".
        model_type: unigram | bpe (SentencePiece) | char | word (lists; units have no words).
        vocab_size: pieces, SentencePiece's three specials included; where the corpus is too small for
            them the model has fewer (see `size` in subword.json). For lists the most entries, 0 = all.
        input_sentence_size: train on that many random lines, 0 = all.

    Returns:
        What subword.json holds: sizes and counts.

    Raises:
        InputError: no text, an impossible size, or a wrong option.
    """
    out_dir = Path(out_dir)
    if kind not in ("unit", "text") or model_type not in MODEL_TYPES:
        raise InputError(
            f"kind '{kind}', model type '{model_type}': must be unit or text, {' or '.join(MODEL_TYPES)}"
        )
    subwords = model_type in ("unigram", "bpe")
    if kind == "unit" and model_type == "word":
        raise InputError("units have no words: use char, unigram or bpe")
    if subwords and vocab_size < 4:
        raise InputError(
            f"vocab_size {vocab_size}: SentencePiece needs at least 4 (three specials and a piece)"
        )
    if vocab_size < 0:
        raise InputError(f"vocab_size {vocab_size}: must not be negative; 0 takes every token of a list")
    options = {
        "kind": kind,
        "model_type": model_type,
        "vocab_size": vocab_size,
        "character_coverage": character_coverage,
        "user_defined_symbols": list(user_defined_symbols),
        "input_sentence_size": input_sentence_size,
        "num_threads": NUM_THREADS,
        "seed": seed,
    }
    names = ["tokens.txt", "train.txt", "subword.json", *(["bpe.model", "bpe.vocab"] if subwords else [])]
    outputs = [out_dir / name for name in names]
    stamp = Stamp(out_dir / "subword.done.json", inputs=inputs, options=options, outputs=outputs)
    if stamp.fresh():
        return stamp.result()
    stamp.withdraw()

    lines = longest = empty = 0
    with atomic_write(out_dir / "train.txt") as stream:
        for _, text in read_texts(inputs):
            if not text:  # asr2's `cut` would train on the utterance id here
                empty += 1
                continue
            stream.write(text + "\n")
            lines += 1
            longest = max(longest, len(text.encode()))
    if not lines:
        raise InputError(f"{' '.join(map(str, inputs))}: no text to train on; check the stage that wrote it")
    report = {**options, "lines": lines, "empty_lines": empty, "longest_line_bytes": longest}
    if subwords:
        model = _train_sentencepiece(out_dir / "train.txt", longest, options)
        with atomic_write(out_dir / "bpe.model", "wb") as stream:
            stream.write(model)
        processor = SentencePieceTokenizer(out_dir / "bpe.model").model
        rows = [(processor.id_to_piece(i), processor.get_score(i)) for i in range(processor.get_piece_size())]
        with atomic_write(out_dir / "bpe.vocab") as stream:
            stream.writelines(f"{piece}\t{score:g}\n" for piece, score in rows)
        pieces = [piece for piece, _ in rows[3:]]
        report["size"] = len(rows)
    else:
        pieces = _count_tokens(out_dir / "train.txt", model_type, vocab_size)
        report["size"] = len(pieces) + 3
    with atomic_write(out_dir / "tokens.txt") as stream:
        stream.writelines(f"{token}\n" for token in (BLANK, UNKNOWN, *pieces, SOS_EOS))
    write_json(out_dir / "subword.json", report, sort_keys=True, ensure_ascii=False)
    stamp.write(**report)
    return report


def _train_sentencepiece(train_txt: Path, longest: int, options: dict[str, Any]) -> bytes:
    """The model as bytes. Text and model pass through memory, so that no path is stored in the model."""
    import sentencepiece

    sentencepiece.set_random_generator_seed(options["seed"])
    model = io.BytesIO()
    with train_txt.open(encoding="utf-8", newline="\n") as stream:
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(line.rstrip("\n") for line in stream),
                model_writer=model,
                model_type=options["model_type"],
                vocab_size=options["vocab_size"],
                character_coverage=options["character_coverage"],
                user_defined_symbols=options["user_defined_symbols"],
                input_sentence_size=options["input_sentence_size"],
                max_sentence_length=max(4192, longest + 1),  # longer lines would be skipped silently
                hard_vocab_limit=False,
                num_threads=NUM_THREADS,
                minloglevel=1,
            )
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"{train_txt}: SentencePiece cannot make {options['vocab_size']} pieces ({error}); "
                "change vocab_size"
            ) from None
    return model.getvalue()


def _count_tokens(train_txt: Path, model_type: str, limit: int) -> list[str]:
    """Characters or words by falling frequency, ties by first occurrence, as espnet2's tokenize_text."""
    counts: Counter[str] = Counter()
    with train_txt.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            counts.update(line.split() if model_type == "word" else line.rstrip("\n"))
    tokens = [SPACE if token == " " else token for token, _ in counts.most_common()]
    tokens = [token for token in tokens if token not in (BLANK, UNKNOWN, SOS_EOS)]
    return tokens[:limit] if limit else tokens
