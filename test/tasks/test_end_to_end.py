"""From token files through training and decoding by their commands: what a user brings is read and used."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from espnet_sld.bin import collect_shapes, decode
from espnet_sld.bin.train import load_task, main
from espnet_sld.criteria import speech_text_losses
from espnet_sld.errors import InputError
from espnet_sld.files import read_table

load_task()
from espnet_sld.inference import load_checkpoint  # noqa: E402
from espnet_sld.tasks import checkpoints  # noqa: E402
from espnet_sld.tasks.dataset import SequenceDataset  # noqa: E402
from espnet_sld.tasks.preprocess import SequencePreprocessor  # noqa: E402


@pytest.fixture
def tokenizer_dir(token_dir, train_byte_level, tmp_path) -> Path:
    """A byte-level BPE like GPT-2's, as `save_pretrained` writes it."""
    texts = [line.split(maxsplit=1)[1] for line in (token_dir / "train.text").read_text().splitlines()]
    path = tmp_path / "tokenizer"
    train_byte_level(texts, 290).save_pretrained(path)
    return path


@pytest.fixture
def gpt2_dir(tokenizer_dir, tmp_path) -> Path:
    """GPT-2 weights; its config.json has the keys of the published one that transformers does not know."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    size = len(AutoTokenizer.from_pretrained(tokenizer_dir))
    torch.manual_seed(5)
    settings = GPT2Config(vocab_size=size, n_embd=48, n_layer=2, n_head=2, n_positions=64)
    settings.bos_token_id = settings.eos_token_id = 0
    path = tmp_path / "gpt2"
    GPT2LMHeadModel(settings).save_pretrained(path)
    values = json.loads((path / "config.json").read_text())
    old = {"n_ctx": 64, "n_special": 0, "predict_special_tokens": True}
    old["task_specific_params"] = {"text-generation": {"do_sample": True, "max_length": 50}}
    (path / "config.json").write_text(json.dumps({**values, **old}))
    return path


def stats_of(token_dir: Path, tokenizer: Path, out: Path) -> Path:
    collect_shapes.main(
        [
            *("--speech_text", str(token_dir / "train.speech"), "--text", str(token_dir / "train.text")),
            *("--out_dir", str(out), "--num_clusters", "30"),
            *("--text_token_type", "hf", "--text_token_path", str(tokenizer)),
            *("--max_positions", "64", "--max_text", "24"),
        ]
    )
    return out


@pytest.mark.slow
def test_a_gpt2_directory_and_its_tokenizer_train_and_decode(
    config, command, token_dir, tokenizer_dir, gpt2_dir, tmp_path
) -> None:
    stats = stats_of(token_dir, tokenizer_dir, tmp_path / "stats")
    changes = {
        "backbone_source": str(gpt2_dir),
        "backbone_conf": {},
        "init_new_rows": "mean_noise",
        "text_token_type": "hf",
        "text_token_path": str(tokenizer_dir),
        "max_text": 24,
        "dropout": 0.0,
        "time_mask_prob": 0.0,
        "batch_bins": 1000,
        "num_iters_per_epoch": 100,
        "curriculum_steps": 0.25,
    }
    del config["criterion_conf"]  # the default is SLD
    exp = tmp_path / "hf"
    main(command({**config, **changes}, "hf", "--train_shape_file", str(stats / "sequence_shape")))
    shutil.rmtree(gpt2_dir)  # a checkpoint needs its source no more
    logged = checkpoints.load_checkpoint(exp)["reporter"]["stats"]
    assert logged[4]["valid"]["ce_text"] < logged[1]["valid"]["ce_text"]

    found = {}
    for name, options in (
        ("greedy", {"beam_size": 1}),
        ("greedy_alone", {"batch_tokens": 1}),
        ("beam", {"beam_size": 3, "length_penalty": 0.5}),
        ("beam_alone", {"beam_size": 3, "length_penalty": 0.5, "batch_tokens": 1}),
    ):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(options))
        decode.main(
            [
                *("--exp_dir", str(exp), "--checkpoint", "valid.ce_text.ave.pth"),
                *("--config", str(tmp_path / f"{name}.yaml"), "--out_dir", str(exp / name)),
                *("--speech_text", str(token_dir / "train.speech")),
                *("--length_stats", str(stats / "length_stats.json")),
            ]
        )
        found[name] = read_table(exp / name / "text")
        record = json.loads((exp / name / "decode.json").read_text())
        assert (record["model"], record["objective"], record["utterances"]) == ("gpt2", "sld", 80)
    assert found["greedy"] == found["greedy_alone"]
    assert found["beam"] == found["beam_alone"]
    truth = read_table(token_dir / "train.text")
    for name in ("greedy", "beam"):
        right = sum(found[name][utterance] == text for utterance, text in truth.items())
        assert right > len(truth) / 2  # it was trained on them


LOSS = """
from espnet_sld.criteria import Criterion, Part

class MyLoss(Criterion):
    count_names = ("targets",)

    def __init__(self, text_vocabulary, scale=1.0):
        super().__init__()
        self.weights = {"ce_all": scale}

    def counts(self, tokens, kinds):
        return {"targets": int((kinds[:, 1:] != 0).sum())}

    def forward(self, hidden, output_matrix, tokens, kinds):
        real = kinds[:, 1:] != 0
        logits = (hidden[:, :-1] @ output_matrix.T)[real]
        chosen = logits.log_softmax(-1).gather(1, tokens[:, 1:][real][:, None])
        return {"ce_all": Part(-chosen.sum(), "targets")}
"""


def test_a_users_loss_trains_by_its_import_path(config, command, tmp_path, monkeypatch) -> None:
    (tmp_path / "my_module.py").write_text(LOSS)
    monkeypatch.syspath_prepend(str(tmp_path))
    config |= {"criterion": "my_module:MyLoss", "criterion_conf": {"scale": 0.5}, "accum_grad": 2}
    config |= {"num_iters_per_epoch": 10, "max_epoch": 3}
    with pytest.raises(InputError, match=r"nothing can be chosen by valid,ce_text: .* there are: .*ce_all"):
        main(command(config, "wrong"))
    main(command({**config, "best_model_criterion": [["valid", "ce_all", "min"]]}, "mine"))
    logged = checkpoints.load_checkpoint(tmp_path / "mine")["reporter"]["stats"]
    assert logged[3]["valid"]["ce_all"] < logged[1]["valid"]["ce_all"]
    assert logged[3]["valid"]["loss"] == pytest.approx(0.5 * logged[3]["valid"]["ce_all"])
    assert (tmp_path / "mine" / "valid.ce_all.ave.pth").exists()


@pytest.mark.parametrize("reduction", ["utterance", "token"])
def test_training_logs_the_released_kl_of_the_plain_function(
    config, command, token_dir, tmp_path, reduction
) -> None:
    """Every sequence followed by a pad, as in the released code's fixed block."""
    scope = {"kl_scope": "released", "kl_reduction": reduction}
    config |= {"criterion_conf": {"objective": "sld", **scope}, "max_epoch": 1, "valid_batch_bins": 150}
    main(command(config, "released"))
    logged = checkpoints.load_checkpoint(tmp_path / "released")["reporter"]["stats"][1]["valid"]
    trained = load_checkpoint(tmp_path / "released" / "1epoch.pth")
    preprocess = SequencePreprocessor(
        trained.tokenizers["text"], trained.tokenizers["speech"], max_positions=64, max_text=8
    )
    data = SequenceDataset([(f"{token_dir}/dev.{name}", name) for name in ("speech", "text")], preprocess)
    _, batch = data.collate(range(len(data)))
    tokens = torch.nn.functional.pad(batch["tokens"], (0, 1), value=preprocess.pad_id)
    labels = tokens.masked_fill(torch.arange(tokens.size(1)) >= batch["lengths"][:, None], -100)
    with torch.no_grad():
        logits = trained.model.double()(tokens)
    expected = speech_text_losses(
        logits,
        labels,
        text_vocabulary=len(preprocess.vocabulary.range("text")),
        speech_vocabulary=30,
        **scope,
    )
    for name, value in expected.items():
        assert logged[name] == pytest.approx(float(value), rel=1e-5)
