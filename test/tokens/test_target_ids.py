"""Ids of a CTC recogniser's targets are the places in tokens.txt, as ESPnet's own converters count them."""

import pytest
from espnet2.text.build_tokenizer import build_tokenizer
from espnet2.text.token_id_converter import TokenIDConverter

from espnet_sld.errors import InputError
from espnet_sld.tokens.target_ids import TargetIds
from espnet_sld.tokens.train import train_subword

TEXT = ["the cat sat on the mat", "a dog sat on the log", "the dog and the cat", "a mat on a log"]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """A text, and its lists by type."""
    folder = tmp_path_factory.mktemp("targets")
    (folder / "text").write_text("".join(f"u{n} {line}\n" for n, line in enumerate(TEXT)))
    for kind, size in (("word", 0), ("char", 0), ("unigram", 24)):
        train_subword([folder / "text"], folder / kind, kind="text", model_type=kind, vocab_size=size)
    return folder


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_ids_are_those_of_espnet(lists, kind):
    folder = lists / ("unigram" if kind == "bpe" else kind)
    model = str(folder / "bpe.model") if kind == "bpe" else None
    ours = TargetIds(kind, folder / "tokens.txt", model)
    tokenizer = build_tokenizer(kind, bpemodel=model)
    converter = TokenIDConverter(token_list=str(folder / "tokens.txt"))
    for line in [*TEXT, "the Xylophone sat"]:
        assert ours.encode(line) == converter.tokens2ids(tokenizer.text2tokens(line))
    assert ours.size == len(ours.tokens) == converter.get_num_vocabulary_size()


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_known_text_comes_back_and_specials_vanish(lists, kind):
    folder = lists / ("unigram" if kind == "bpe" else kind)
    targets = TargetIds(kind, folder / "tokens.txt", folder / "bpe.model" if kind == "bpe" else None)
    for line in TEXT:
        ids = targets.encode(line)
        assert targets.decode(ids) == line
        assert targets.decode([0, *ids, targets.size - 1]) == line


def test_specials_spelled_in_a_transcript_are_unknown_text(lists):
    targets = TargetIds("word", lists / "word" / "tokens.txt")
    assert targets.encode("<blank> cat <sos/eos>") == [1, targets.tokens.index("cat"), 1]


def test_what_is_missing_is_named(lists):
    with pytest.raises(InputError, match="token type 'phone'"):
        TargetIds("phone", lists / "word" / "tokens.txt")
    with pytest.raises(InputError, match="needs its model"):
        TargetIds("bpe", lists / "unigram" / "tokens.txt")
    with pytest.raises(InputError, match="no Hugging Face tokenizer"):
        TargetIds("hf", lists / "word" / "tokens.txt", lists / "word")
