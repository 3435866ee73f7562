"""The examples of docs/extending.md run as they stand; the criterion trains."""

import os
import random
import sys
from pathlib import Path

import pytest

WORDS = ("turn", "on", "the", "light", "play", "song", "seven", "two")
CLUSTERS = 24
RECIPE = "mkdir -p egs/yours"
TINY = (
    '--asr_config conf/train_zloss.yaml --corpus_opts "--num_train 240 --num_dev 30 --num_test 30 '
    '--num_test_voices 20" --nclusters 50 --asr_args "--max_epoch 2 --num_iters_per_epoch 15"\n'
)


def named(blocks) -> dict[str, str]:
    """File → content of the blocks that name one."""
    return {block.file: block.text for block in blocks("extending.md") if block.file}


@pytest.fixture
def folder(blocks, tmp_path, monkeypatch) -> Path:
    """A folder with the document's modules, importable as they are for a reader."""
    for name, content in named(blocks).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("module", ["my_loss", "my_frontend", "my_template"])
def test_the_block_after_each_example_runs(blocks, folder, module, monkeypatch):
    from espnet_sld.tokens import templates
    from espnet_sld.units.frontends.base import FRONTENDS

    monkeypatch.setattr(templates, "TEMPLATES", dict(templates.TEMPLATES))
    uses = [block.text for block in blocks("extending.md") if block.kind == "python" and not block.file]
    (text,) = [text for text in uses if module in text]
    try:
        exec(compile(text, f"extending.md ({module})", "exec"), {"__name__": "example"})
    finally:
        FRONTENDS.pop("logbands", None)


def test_the_criterion_example_is_short(blocks):
    assert len(named(blocks)["my_loss.py"].splitlines()) <= 40


def write_set(folder: Path, name: str, count: int) -> None:
    """Commands whose words are spoken as three units each, as unit text and transcripts."""
    rng = random.Random(name)
    spelling = {word: [random.Random(word + str(i)).randrange(CLUSTERS) for i in range(3)] for word in WORDS}
    speech, text = [], []
    for number in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(2, 4))]
        units = "".join(chr(0x4E00 + unit) for word in words for unit in spelling[word])
        speech.append(f"{name}{number:03d} {units}\n")
        text.append(f"{name}{number:03d} {' '.join(words)}\n")
    (folder / f"{name}.speech").write_text("".join(speech), encoding="utf-8")
    (folder / f"{name}.text").write_text("".join(text), encoding="utf-8")


@pytest.mark.slow
def test_the_criterion_example_trains(folder, capsys):
    from espnet_sld.bin import inspect, train

    write_set(folder, "train", 60)
    write_set(folder, "dev", 12)
    (folder / "tokens.txt").write_text("\n".join(["<blank>", "<unk>", *WORDS, "<sos/eos>"]) + "\n")
    options = "--criterion my_loss:TextWithZLoss --criterion_conf beta=0.001 --output_dir exp --seed 1"
    options += " --text_token_type word --text_token_path tokens.txt --speech_token_type unit"
    options += f" --num_clusters {CLUSTERS} --max_positions 48 --max_text 8 --batch_bins 300 --max_epoch 3"
    options += " --num_iters_per_epoch 10 --optim_conf lr=0.01 --use_tensorboard false --keep_nbest_models 1"
    for name, value in {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
                        "num_hidden_layers": 1, "num_attention_heads": 2}.items():  # fmt: skip
        options += f" --backbone_conf {name}={value}"
    for mode, stem in (("train", "train"), ("valid", "dev")):
        for kind in ("speech", "text"):
            options += f" --{mode}_data_path_and_name_and_type {stem}.{kind},{kind},text"
    assert train.main(options.split()) == 0

    from espnet_sld.tasks.checkpoints import load_checkpoint

    logged = load_checkpoint(folder / "exp")["reporter"]["stats"]
    assert logged[3]["valid"]["ce_text"] < logged[1]["valid"]["ce_text"]
    assert logged[3]["valid"]["loss"] == pytest.approx(
        logged[3]["valid"]["ce_text"] + 0.001 * logged[3]["valid"]["z_loss"], rel=1e-4
    )

    capsys.readouterr()
    assert inspect.main(["exp", "exp/valid.ce_text.ave.pth"]) == 0
    told = capsys.readouterr().out
    assert "an experiment: a decoder-only language model" in told and "my_loss:TextWithZLoss" in told
    assert "training finished" in told and "llama" in told and "a checkpoint of parameters" in told


@pytest.mark.slow
def test_the_recipe_example_shows_its_commands(blocks, clone):
    (block,) = [block.text for block in blocks("extending.md") if block.text.startswith(RECIPE)]
    copied = "mkdir -p kaldi/{train,dev,test} && YOUR_DATA=kaldi local/data.sh --data_dir data && ls data"
    printed = clone.shell(f'cp -r "${{REPOSITORY}}" toolkit && cd toolkit\n{block}{copied}', PATH=_path())
    assert "usage: " in printed and printed.split()[-3:] == ["dev", "test", "train"]
    assert "espnet_sld.bin.fit_kmeans" in printed and "--num_clusters 100" in printed


@pytest.mark.campaign
def test_the_criterion_example_trains_in_the_recipe_mini(blocks, clone, folder):
    (block,) = [block.text for block in blocks("extending.md") if "--objective own" in block.text]
    assert "--asr_config conf/train_zloss.yaml\n" in block
    small = block.replace("--asr_config conf/train_zloss.yaml\n", TINY)
    clone.shell(
        f'cp -r "${{REPOSITORY}}" toolkit && cd toolkit\n{small}\ncat exp/asr_sld_*/RESULTS.md',
        MY_LOSS=str(folder / "my_loss.py"),
        PATH=_path(),
    )
    (config,) = (clone.place / "toolkit/egs/mini/asr_sld/exp").glob("asr_sld_zloss_own_*/config.yaml")
    assert "criterion: my_loss:TextWithZLoss" in config.read_text()


def _path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
