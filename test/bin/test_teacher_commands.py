"""train_teacher and soft_labels: what they write, that they resume, and what they refuse."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from espnet_sld.bin import hf_token_list, soft_labels, train_teacher
from espnet_sld.errors import InputError
from espnet_sld.models.soft_label_store import SoftLabelStore
from espnet_sld.models.soft_labels import soft_labels as labels_of
from espnet_sld.models.teacher import load_teacher

TOKENS = ["<blank>", "<unk>", "one", "two", "three", "<sos/eos>"]
# "two" always follows "one"; "three" is alone
TRAIN = {f"u{n:02d}": ("one two one two", "three", "one two")[n % 3] for n in range(30)}
SMALL = ["hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2", "intermediate_size=16"]
SHORT = ["max_steps=30", "warmup_steps=3", "batch_tokens=120", "lr=0.02", "eval_interval=10"]


def kaldi(path, table):
    path.write_text("".join(f"{name} {text}\n" for name, text in table.items()))
    return str(path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Texts and a trained teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    (folder / "tokens.txt").write_text("".join(f"{token}\n" for token in TOKENS))
    kaldi(folder / "train", TRAIN)
    kaldi(folder / "dev", {"d1": "one two", "d2": "three"})
    train_teacher.main(training(folder))
    return folder


def training(folder, *more):
    return [
        *("--text", str(folder / "train"), "--held_out", str(folder / "dev")),
        *("--token_type", "word", "--token_list", str(folder / "tokens.txt")),
        *("--out_dir", str(folder / "model"), "--bert_conf", *SMALL, "--teacher_conf", *SHORT, *more),
    ]


def labelling(folder, out, *more):
    return [
        *("--teacher", str(folder / "model"), "--text", str(folder / "train")),
        *("--token_type", "word", "--token_list", str(folder / "tokens.txt")),
        *(
            "--report_text",
            str(folder / "dev"),
            "--top_k",
            "2",
            "--shard_size",
            "1",
            "--out",
            str(out),
            *more,
        ),
    ]


def test_a_teacher_is_a_hugging_face_directory_that_has_learnt_its_text(corpus):
    teacher = load_teacher(corpus / "model", TOKENS)
    (labels,), _ = labels_of(teacher, [[2, 3]], k=1)
    assert labels.ids.tolist() == [[2], [3]]
    BertForMaskedLM.from_pretrained(corpus / "model")
    written = json.loads((corpus / "model.done.json").read_text())["result"]
    assert written["sentences"] == 30 and written["held_out_loss"] < 1.4  # ln 5 = 1.61 knows nothing


def test_a_teacher_that_is_up_to_date_is_not_trained_again(corpus):
    weights = corpus / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    train_teacher.main(training(corpus))
    assert weights.stat().st_mtime_ns == before
    train_teacher.main(training(corpus, "seed=1"))
    assert weights.stat().st_mtime_ns != before
    train_teacher.main(training(corpus))


def test_jobs_write_what_one_process_would_and_the_report_tells_of_dev(corpus, tmp_path, capsys):
    apart, whole = tmp_path / "apart.safetensors", tmp_path / "whole.safetensors"
    for job in ("1", "2"):
        soft_labels.main(labelling(corpus, apart, "--num_shards", "2", "--shard", job))
    assert len(list((tmp_path / "apart.safetensors.shards").glob("*.safetensors"))) == 3
    soft_labels.main(labelling(corpus, apart))
    soft_labels.main(labelling(corpus, whole))
    assert apart.read_bytes() == whole.read_bytes()
    store = SoftLabelStore(apart)
    assert len(store) == 30 and store.get("u00", [2, 3, 2, 3]).ids.shape == (4, 2)
    report = json.loads((tmp_path / "apart.safetensors.report.json").read_text())
    _, totals = labels_of(load_teacher(corpus / "model", TOKENS), [[2, 3], [4]], k=2)
    dev = report[str(corpus / "dev")]
    assert dev == pytest.approx(totals.report()) and report["all"]["transcripts"] == 3
    printed = capsys.readouterr().out
    assert f"on {corpus / 'dev'}: pseudo-perplexity {dev['pseudo_perplexity']:.3f}" in printed


def test_finished_labels_are_not_made_again_by_a_late_job(corpus, tmp_path):
    out = tmp_path / "labels.safetensors"
    soft_labels.main(labelling(corpus, out))
    before = out.stat().st_mtime_ns
    soft_labels.main(labelling(corpus, out, "--num_shards", "2", "--shard", "2"))
    soft_labels.main(labelling(corpus, out))
    assert out.stat().st_mtime_ns == before and not (tmp_path / "labels.safetensors.shards").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_shards", "2", "--shard", "3"], "--shard 3: must be from 1"),
        (["--shard_size", "0"], "--shard_size 0"),
        (["--teacher", "/nowhere"], "/nowhere: no such directory"),
        (["--token_type", "bpe"], "needs its model, --bpemodel"),
    ],
)
def test_wrong_options_are_refused(corpus, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        soft_labels.main(labelling(corpus, tmp_path / "x.safetensors", *options))


def test_an_utterance_that_stands_in_two_texts_is_refused(corpus, tmp_path):
    again = kaldi(tmp_path / "again", {"u00": "one"})
    texts = ["--text", str(corpus / "train"), again]
    with pytest.raises(InputError, match="'u00' occurs twice"):
        soft_labels.main(labelling(corpus, tmp_path / "x.safetensors", *texts))


def test_a_bert_teaches_a_student_on_its_own_word_pieces(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "##s", "two"]
    bert = tmp_path / "bert"
    torch.manual_seed(0)
    settings = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertForMaskedLM(settings).save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizer(str(bert / "vocab.txt")).save_pretrained(bert)
    tokens = tmp_path / "list" / "tokens.txt"
    hf_token_list.main(["--model", str(bert), "--out", str(tokens)])
    listed = tokens.read_text().split()
    assert sorted(listed) == sorted(["<blank>", "<unk>", "one", "##s", "two", "<sos/eos>"])
    text, out = kaldi(tmp_path / "text", {"a": "ones two", "b": "zebra one"}), tmp_path / "labels.safetensors"
    soft_labels.main(
        [
            *("--teacher", str(bert), "--text", text, "--token_type", "hf", "--token_list", str(tokens)),
            *("--bpemodel", str(bert), "--out", str(out)),
        ]
    )
    store, place = SoftLabelStore(out), {token: number for number, token in enumerate(listed)}
    labels = store.get("a", [place["one"], place["##s"], place["two"]])
    assert labels.ids.shape == (3, 3) and set(labels.ids[0].tolist()) == {
        place[t] for t in ("one", "##s", "two")
    }
    assert np.allclose(labels.probs.astype(np.float32).sum(-1), 1, atol=2e-3)
    assert store.get("b", [place["<unk>"], place["one"]]).ids.shape == (2, 3)
