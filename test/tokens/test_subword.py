"""Tokenizers: round trips, spare ids, nothing unknown lost silently; training is deterministic."""

import json
import random

import pytest

from espnet_sld.bin import train_subword as command
from espnet_sld.errors import InputError
from espnet_sld.tokens.subword import build_text_tokenizer, build_unit_tokenizer
from espnet_sld.tokens.train import train_subword
from espnet_sld.units.unit_text import FIRST, MAX_UNITS, ids_to_text

K = 50
TEXT = ["turn the light on", "turn the radio off", "set the alarm to seven", "what is the time", "light off"]


def unit_lines(number: int, seed: int = 0) -> list[str]:
    """Unit text with recurring 'words', runs (`ts`) included."""
    draw = random.Random(1)
    words = [[unit] * draw.randrange(1, 3) + [draw.randrange(K), unit] for unit in range(K)]
    draw = random.Random(seed)
    return [
        ids_to_text([u for w in draw.choices(words, k=draw.randrange(1, 25)) for u in w])
        for _ in range(number)
    ]


def write_text(path, lines):
    path.write_text("".join(f"utt{i:04d} {line}\n" for i, line in enumerate(lines)), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def unit_model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    text = write_text(folder / "text.ts", unit_lines(300))
    report = train_subword([text], folder / "model", kind="unit", model_type=request.param, vocab_size=200)
    return request.param, folder / "model", report


def test_unit_pieces_decode_to_exactly_the_units(unit_model):
    model_type, folder, _ = unit_model
    tokenizer = build_unit_tokenizer(model_type, folder, K)
    for line in [*unit_lines(100, seed=1), ids_to_text([3]), ids_to_text([7] * 90)]:
        ids = tokenizer.encode(line)
        assert tokenizer.decode(ids) == line
        assert tokenizer.count_unknown(line) == 0
        assert tokenizer.spare_id not in ids and max(ids) < tokenizer.size


def test_units_not_seen_in_training_are_counted_one_by_one(unit_model):
    model_type, folder, _ = unit_model
    tokenizer = build_unit_tokenizer(model_type, folder, K + 5)
    text = ids_to_text([0, K, K + 1, K + 1, 3])
    assert tokenizer.count_unknown(text) == 3
    assert tokenizer.unknown_id in tokenizer.encode(text)


def test_token_list_is_asr2s(unit_model):
    _, folder, report = unit_model
    tokens = (folder / "tokens.txt").read_text(encoding="utf-8").splitlines()
    pieces = [line.split("\t")[0] for line in (folder / "bpe.vocab").read_text(encoding="utf-8").splitlines()]
    assert tokens == ["<blank>", "<unk>", *pieces[3:], "<sos/eos>"]
    assert pieces[:3] == ["<unk>", "<s>", "</s>"]
    assert report["size"] == len(pieces) == json.loads((folder / "subword.json").read_text())["size"]
    assert len((folder / "train.txt").read_text(encoding="utf-8").splitlines()) == report["lines"] == 300


@pytest.mark.parametrize("token_type", ["unit", "unigram"])
def test_what_is_no_unit_is_refused(token_type, tmp_path):
    if token_type == "unigram":
        train_subword(
            [write_text(tmp_path / "t", unit_lines(50))],
            tmp_path,
            kind="unit",
            model_type="unigram",
            vocab_size=80,
        )
    tokenizer = build_unit_tokenizer(token_type, tmp_path, K)
    for bad in ("a", chr(FIRST + K), ids_to_text([1]) + " " + ids_to_text([2])):
        with pytest.raises(InputError, match="is no unit of"):
            tokenizer.encode(bad)


def test_unit_without_subwords_is_its_cluster():
    tokenizer = build_unit_tokenizer("unit", None, K)
    assert tokenizer.size == K
    assert tokenizer.encode(ids_to_text([0, 49, 49])) == [0, 49, 49]
    assert tokenizer.decode([0, 49, 49]) == ids_to_text([0, 49, 49])


def test_normalisation_changes_none_of_the_20902_characters():
    import sentencepiece

    normalizer = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")
    text = ids_to_text(range(MAX_UNITS))
    assert normalizer.normalize(text).lstrip("\u2581 ") == text


def test_lines_over_4192_bytes_are_trained_on(tmp_path):
    long = ids_to_text([40, 41] * 1500)  # 9000 bytes; these two units occur nowhere else
    short = [line for line in unit_lines(100) if not set(line) & set(long)]
    text = write_text(tmp_path / "text", [*short, long])
    report = train_subword([text], tmp_path / "m", kind="unit", model_type="unigram", vocab_size=100)
    assert report["longest_line_bytes"] == 9000
    assert build_unit_tokenizer("unigram", tmp_path / "m", K).count_unknown(long) == 0


def test_small_corpus_gives_fewer_pieces_and_says_so(tmp_path):
    report = train_subword(
        [write_text(tmp_path / "text", TEXT)], tmp_path / "m", kind="text", model_type="bpe", vocab_size=5000
    )
    assert (
        report["vocab_size"] == 5000
        and report["size"] == build_text_tokenizer("bpe", tmp_path / "m").size < 200
    )


def test_same_inputs_give_the_same_bytes_anywhere(tmp_path):
    text = write_text(tmp_path / "text", unit_lines(100))
    for name in ("a", "b"):
        train_subword([text], tmp_path / name, kind="unit", model_type="unigram", vocab_size=100)
    for file in ("bpe.model", "bpe.vocab", "tokens.txt", "subword.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_fresh_output_is_kept_and_a_changed_input_redone(tmp_path):
    text, out = write_text(tmp_path / "text", TEXT), tmp_path / "m"
    arguments = ["--input", str(text), "--out_dir", str(out), "--kind", "text", "--model_type", "word"]
    assert command.main(arguments) == 0
    before = (out / "tokens.txt").stat().st_mtime_ns
    command.main(arguments)
    assert (out / "tokens.txt").stat().st_mtime_ns == before
    write_text(text, [*TEXT, "something new"])
    command.main(arguments)
    assert "something" in (out / "tokens.txt").read_text().splitlines()


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "char", "word"])
def test_text_round_trip(model_type, tmp_path):
    text = write_text(tmp_path / "text", TEXT * 5)
    report = train_subword([text], tmp_path / "m", kind="text", model_type=model_type, vocab_size=60)
    tokenizer = build_text_tokenizer(model_type, tmp_path / "m")
    assert tokenizer.size == report["size"]
    for line in [*TEXT, "light on"]:
        ids = tokenizer.encode(line)
        assert tokenizer.decode(ids) == line
        assert tokenizer.spare_id not in ids
        assert tokenizer.count_unknown(line) == 0


def test_unknown_words_and_literal_specials_are_counted(tmp_path):
    train_subword([write_text(tmp_path / "text", TEXT)], tmp_path / "m", kind="text", model_type="word")
    tokenizer = build_text_tokenizer("word", tmp_path / "m")
    assert tokenizer.encode("light zebra <blank> <sos/eos>") == [tokenizer.token_id("light"), 1, 1, 1]
    assert tokenizer.count_unknown("light zebra <blank> <sos/eos>") == 3
    assert tokenizer.decode([0, 1, tokenizer.token_id("light"), tokenizer.size - 1]) == "<unk> light"


def test_utterance_without_text_is_not_trained_on_by_its_id(tmp_path):
    text = write_text(tmp_path / "text", [*TEXT, ""])
    report = train_subword([text], tmp_path / "m", kind="text", model_type="char")
    assert (report["lines"], report["empty_lines"]) == (5, 1)
    assert "0" not in (tmp_path / "m" / "tokens.txt").read_text().splitlines()


def test_hugging_face_directory(tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    model = Tokenizer(models.BPE())
    model.pre_tokenizer, model.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    model.train_from_iterator(TEXT, trainer)
    PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|endoftext|>").save_pretrained(tmp_path)
    tokenizer = build_text_tokenizer("hf", tmp_path)
    assert tokenizer.spare_id == tokenizer.token_id("<|endoftext|>") == 0
    for line in [*TEXT, "Ünïcode , kept", "a <|endoftext|> b"]:
        ids = tokenizer.encode(line)
        assert tokenizer.decode(ids) == line
        assert tokenizer.spare_id not in ids
    with pytest.raises(InputError, match="no token"):
        tokenizer.token_id("<mask>")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "unit", "model_type": "word"}, "units have no words"),
        ({"kind": "text", "model_type": "bpe", "vocab_size": 3}, "at least 4"),
        ({"kind": "text", "model_type": "unigram", "vocab_size": 10}, "change vocab_size"),
        ({"kind": "text", "model_type": "word", "vocab_size": -1}, "must not be negative"),
    ],
)
def test_impossible_training_is_an_input_error(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_subword([write_text(tmp_path / "text", TEXT)], tmp_path / "m", **options)


def test_missing_or_broken_files_are_input_errors(tmp_path):
    (tmp_path / "bpe.model").write_bytes(b"no model")
    (tmp_path / "tokens.txt").write_text("a\nb\n")
    (tmp_path / "empty").write_text("utt1\n")
    for token_type, message in [
        ("bpe", "not a SentencePiece model"),
        ("char", "must start with"),
        ("x", "must be"),
    ]:
        with pytest.raises(InputError, match=message):
            build_text_tokenizer(token_type, tmp_path)
    with pytest.raises(InputError, match="no text to train on"):
        train_subword([tmp_path / "empty"], tmp_path / "m", kind="text", model_type="char")
    with pytest.raises(InputError, match="no such file"):
        train_subword([tmp_path / "nothing"], tmp_path / "m", kind="text", model_type="char")
