"""Soft labels against masking one token at a time with transformers; the embedded teacher; the store."""

import json
import math
import pickle

import numpy as np
import pytest
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from espnet_sld.errors import InputError
from espnet_sld.models.id_rows import IdRows
from espnet_sld.models.soft_label_store import SoftLabelStore, SoftLabelWriter, teacher_identity
from espnet_sld.models.soft_labels import soft_labels
from espnet_sld.models.teacher import load_teacher, most_tokens
from espnet_sld.models.teacher_training import train_teacher

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three", "four", "##s", "unused"]
# a student on those word pieces, in another order, with its own specials
STUDENT = ["<blank>", "<unk>", "two", "one", "##s", "four", "three", "<sos/eos>"]
TRANSCRIPTS = [[3, 2, 6], [5], [], [2, 4, 1, 3, 3, 6, 5], [4, 4]]


@pytest.fixture(scope="module")
def bert_directory(tmp_path_factory):
    """A tiny random BERT with a WordPiece vocabulary, with sharp opinions, so that labels differ."""
    path = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    settings = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=10, pad_token_id=0, initializer_range=0.8,
    )  # fmt: skip
    BertForMaskedLM(settings).save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    return path


@torch.no_grad()
def one_at_a_time(directory, transcript, k, temperature, window=None):
    """The definition: mask a token, run the model on that one sentence, drop the specials, take the top k."""
    model = BertForMaskedLM.from_pretrained(directory).eval()
    tokens = [WORDS.index({"<unk>": "[UNK]"}.get(STUDENT[token], STUDENT[token])) for token in transcript]
    student = {WORDS.index(name): place for place, name in enumerate(STUDENT) if not name.startswith("<")}
    found = []
    for place in range(len(tokens)):
        masked = [2, *tokens, 3]
        masked[place + 1] = 4
        logits = model(input_ids=torch.tensor([masked])).logits[0, place + 1]
        ranked = sorted(student, key=lambda one: -logits[one].item())[:k]
        weights = [math.exp(logits[one].item() / temperature) for one in ranked]
        labels = [(student[one], weight / sum(weights)) for one, weight in zip(ranked, weights, strict=True)]
        found.append((labels, -logits.log_softmax(-1)[tokens[place]].item(), tokens[place] in ranked))
    return found


@pytest.mark.parametrize(("k", "temperature", "max_tokens"), [(3, 3.0, 8192), (3, 3.0, 1), (2, 0.7, 20)])
def test_labels_are_those_of_masking_one_token_at_a_time(bert_directory, k, temperature, max_tokens):
    teacher = load_teacher(bert_directory, STUDENT)
    labels, totals = soft_labels(teacher, TRANSCRIPTS, k=k, temperature=temperature, max_tokens=max_tokens)
    wanted = [one_at_a_time(bert_directory, transcript, k, temperature) for transcript in TRANSCRIPTS]
    for transcript, label, rows in zip(TRANSCRIPTS, labels, wanted, strict=True):
        assert label.ids.dtype == np.int32 and label.probs.dtype == np.float16
        assert label.ids.shape == label.probs.shape == (len(transcript), k)
        for place, (row, _, _) in enumerate(rows):
            assert label.ids[place].tolist() == [identity for identity, _ in row]
            assert label.probs[place].tolist() == pytest.approx([value for _, value in row], abs=6e-4)
    flat = [entry for rows in wanted for entry in rows]
    entropy = -sum(value * math.log(value) for row, _, _ in flat for _, value in row)
    report = totals.report()
    assert report["tokens"] == len(flat) == sum(map(len, TRANSCRIPTS))
    assert report["pseudo_perplexity"] == pytest.approx(
        math.exp(sum(loss for _, loss, _ in flat) / len(flat)), rel=1e-4
    )
    assert report["entropy"] == pytest.approx(entropy / len(flat), rel=1e-4)
    assert report["references_in_top_k"] == sum(hit for *_, hit in flat) / len(flat)


def test_company_and_padding_change_no_label(bert_directory):
    teacher = load_teacher(bert_directory, STUDENT)
    together, _ = soft_labels(teacher, TRANSCRIPTS, k=4)
    for transcript, label in zip(TRANSCRIPTS, together, strict=True):
        ((ids, probs),), _ = soft_labels(teacher, [transcript], k=4)
        assert np.array_equal(ids, label.ids)
        assert np.allclose(probs, label.probs, atol=1e-3)


def test_a_label_never_names_a_special(bert_directory):
    labels, _ = soft_labels(load_teacher(bert_directory, STUDENT), TRANSCRIPTS, k=50)
    assert {identity for label in labels for identity in label.ids.flat} == {2, 3, 4, 5, 6}


def test_a_long_transcript_is_seen_through_a_window_around_the_masked_token(bert_directory):
    teacher = load_teacher(bert_directory, STUDENT)
    assert teacher.window == 7  # 10 positions, less [CLS], [SEP] and the offset of pad 0
    long = [3, 2, 6, 5, 4, 3, 2, 6, 6, 5, 2]
    ((ids, _),), _ = soft_labels(teacher, [long], k=2)
    for place, first in ((0, 0), (3, 0), (5, 2), (10, 4)):
        rows = one_at_a_time(bert_directory, long[first : first + 7], 2, 3.0)
        assert ids[place].tolist() == [identity for identity, _ in rows[place - first][0]]


@pytest.mark.parametrize(
    ("settings", "pad_id", "most"),
    [
        (transformers.BertConfig, 0, 63),
        (transformers.RobertaConfig, 1, 62),
        (transformers.ModernBertConfig, 119, 63),
    ],
)
def test_positions_are_what_the_model_has_whatever_its_pad_token_is(settings, pad_id, most):
    conf = settings(
        vocab_size=120, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=pad_id, bos_token_id=2, eos_token_id=3, cls_token_id=2,
        sep_token_id=3,
    )  # fmt: skip
    model = transformers.AutoModelForMaskedLM.from_config(conf).eval()
    assert most_tokens(model, pad_id) == most
    inputs = torch.full((1, most), 5)
    assert model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits.shape == (1, most, 120)


def test_another_vocabulary_is_refused(bert_directory, tmp_path):
    with pytest.raises(InputError, match=r"2 of the student's 5 tokens, e\.g\. 'drei'"):
        load_teacher(bert_directory, ["<blank>", "drei", "one", "vier", "<sos/eos>"])
    with pytest.raises(InputError, match="no such directory"):
        load_teacher(tmp_path / "none", STUDENT)
    with pytest.raises(InputError, match="not one of the teacher's"):
        soft_labels(load_teacher(bert_directory, STUDENT), [[2, 7]])


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
FAST = {"max_steps": 60, "warmup_steps": 5, "batch_tokens": 256, "lr": 5e-3, "eval_interval": 20}
LETTERS = ["<blank>", "<unk>", "a", "b", "c", "d", "<sos/eos>"]
ECHOES = [[2 + start % 4] * (3 + start % 5) for start in range(40)]  # a a a, b b b b, …


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "teacher"
    result = train_teacher(ECHOES, LETTERS, path, held_out=ECHOES[:4], bert_conf=SMALL, teacher_conf=FAST)
    return path, result


def test_the_embedded_teacher_learns_the_text_and_loads_as_any_other(trained):
    path, result = trained
    assert BertForMaskedLM.from_pretrained(path).config.vocab_size == len(LETTERS) + 1
    assert result["held_out_loss"] < math.log(4) / 2  # a guess among the four letters costs log 4
    labels, totals = soft_labels(load_teacher(path, LETTERS), ECHOES[:10], k=8)
    report = totals.report()
    assert report["pseudo_perplexity"] < 2 and report["references_in_top_k"] == 1
    assert all(label.ids.shape[1] == 4 for label in labels)  # no more than the student has
    best = [label.ids[:, 0].tolist() == tokens for label, tokens in zip(labels, ECHOES, strict=False)]
    assert sum(best) >= 8
    assert not list(path.parent.glob(".*"))
    assert (result["sentences"], result["held_out_sentences"]) == (len(ECHOES), 4)


def test_training_the_teacher_twice_gives_the_same_weights(trained, tmp_path):
    short = {**FAST, "max_steps": 3}
    state = torch.random.get_rng_state()
    for name in ("one", "two"):
        train_teacher(ECHOES, LETTERS, tmp_path / name, bert_conf=SMALL, teacher_conf=short)
    assert torch.equal(state, torch.random.get_rng_state())
    one, two = (BertForMaskedLM.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_teacher_of_another_token_list_is_refused(trained):
    with pytest.raises(InputError, match="trained on another token list"):
        load_teacher(trained[0], [*LETTERS[:-1], "e", "<sos/eos>"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_conf": {"steps": 3}}, "unknown option steps; known: batch_tokens"),
        ({"teacher_conf": {"mask_probability": 0}}, "mask_probability"),
        ({"teacher_conf": {"max_steps": "many"}}, "max_steps is a whole number, not 'many'"),
        ({"teacher_conf": {"lr": "high"}}, "lr is a number, not 'high'"),
        ({"bert_conf": {"layers": 3}}, "no option layers"),
        ({"bert_conf": {"hidden_size": 30, "num_attention_heads": 4}}, "hidden size"),
    ],
)
def test_a_wrong_option_of_the_teacher_is_an_input_error(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_teacher(ECHOES, LETTERS, tmp_path / "teacher", **options)
    with pytest.raises(InputError, match=r"ids from 2 to 7; its tokens are 1 to 5: .*another token list"):
        train_teacher([[2], [], [3, 2, 7], [8]], LETTERS, tmp_path / "teacher")
    with pytest.raises(InputError, match="no transcript to learn from"):
        train_teacher([[]], LETTERS, tmp_path / "teacher")


def test_transcripts_in_one_array_are_the_transcripts():
    given = [[3, 1], [], [2], list(range(1, 9))]
    rows = IdRows(row for row in given)
    assert [row.tolist() for row in rows] == [row for row in given if row]
    assert (len(rows), rows.given, rows.tokens) == (3, 4, 11) and rows[0].dtype == torch.int64
    assert len(IdRows([])) == 0
    rows.check(1, 8)


UTTERANCES = {
    "sp0.9-u1": [3, 2, 6],
    "u1": [3, 2, 6],
    "u2": [5],
    "u3": [],
    "u4": [2, 4, 1, 3, 3, 6, 5],
    "u5": [4, 4],
}


def writer(directory, path, opened=None, utterances=UTTERANCES, **options):
    def teacher():
        if opened is not None:
            opened.append(1)
        return load_teacher(directory, STUDENT)

    options = {"k": 3, "shard_size": 2, **options}
    return SoftLabelWriter(path, utterances, teacher, teacher_identity(directory), **options)


def test_the_store_gives_each_utterance_its_labels(bert_directory, tmp_path):
    path = tmp_path / "dump" / "soft_labels.safetensors"
    report = writer(bert_directory, path).write()
    store = pickle.loads(pickle.dumps(SoftLabelStore(path)))  # as a worker process gets it
    expected, _ = soft_labels(load_teacher(bert_directory, STUDENT), list(UTTERANCES.values()), k=3)
    assert len(store) == 6 and "u2" in store and "u9" not in store and store.k == 3
    for (name, tokens), labels in zip(UTTERANCES.items(), expected, strict=True):
        found = store.get(name, tokens)
        assert found.ids.dtype == np.int32 and found.probs.dtype == np.float16
        assert np.array_equal(found.ids, labels.ids) and np.allclose(found.probs, labels.probs, atol=1e-3)
    assert report == store.report
    assert (report["utterances"], report["transcripts"], report["tokens"]) == (6, 5, 14 - 3 + 2)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.json"]


def test_labels_of_another_transcript_are_refused(bert_directory, tmp_path):
    path = tmp_path / "soft_labels.safetensors"
    writer(bert_directory, path).write()
    store = SoftLabelStore(path)
    with pytest.raises(InputError, match="'u2' belong to another transcript"):
        store.get("u2", [4])
    with pytest.raises(InputError, match="no soft labels of 'u9'"):
        store.get("u9")
    with pytest.raises(InputError, match="no soft labels"):
        SoftLabelStore(tmp_path / "none.safetensors")
    index = path.with_name(path.name + ".json")
    record = json.loads(index.read_text())
    record["options"]["content"] = "other"
    index.write_text(json.dumps(record))
    with pytest.raises(InputError, match="written apart"):
        SoftLabelStore(path)


def test_what_is_up_to_date_is_not_made_again(bert_directory, tmp_path):
    path, opened = tmp_path / "soft_labels.safetensors", []
    first = writer(bert_directory, path, opened)
    assert first.num_shards == 3
    first.write_shards([0, 2])
    with pytest.raises(InputError, match=r"00001\.safetensors: missing or out of date"):
        first.merge()
    kept = (first.shards / "00002.safetensors").stat().st_mtime_ns
    writer(bert_directory, path).write_shards(range(3))
    assert (first.shards / "00002.safetensors").stat().st_mtime_ns == kept
    with pytest.raises(InputError, match=r"00000\.safetensors: missing or out of date"):
        writer(bert_directory, path, utterances={**UTTERANCES, "u2": [6]}).merge()
    first.merge()
    bytes_of = path.read_bytes()
    writer(bert_directory, path, opened).write()
    assert len(opened) == 1 and path.read_bytes() == bytes_of
    writer(bert_directory, path, opened, temperature=1.0).write()
    writer(bert_directory, path, opened, temperature=1.0, utterances={**UTTERANCES, "u2": [6]}).write()
    assert len(opened) == 3
    assert SoftLabelStore(path).get("u2", [6]).probs.shape == (1, 3)
