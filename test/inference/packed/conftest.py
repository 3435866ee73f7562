"""A small recipe on real digits, made by the stages' own commands; experiments trained for a moment."""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

from espnet_sld.bin import (
    collect_shapes,
    decode,
    extract_units,
    fit_kmeans,
    gather_units,
    train_subword,
)
from espnet_sld.bin import pack as pack_command
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.files import read_table
from espnet_sld.models.build import build_decoder_only
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.tokens.subword import Tokenizer, build_text_tokenizer, build_unit_tokenizer
from espnet_sld.tokens.vocabulary import Vocabulary

K = 12
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FRONTEND = ["--frontend", "mfcc", "--frontend_conf", "frame_shift_ms=40", "high_freq=4000"]
BACKBONES = {
    "llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
              "num_key_value_heads": 2, "tie_word_embeddings": True},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "opt": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 48,
            "word_embed_proj_dim": 32},
}  # fmt: skip
# name → backbone, unit case, unit token type, text token type
VARIANTS = {
    "plain": ("llama", "ts", "unit", "word"),
    "pieces": ("gpt2", "rm", "unigram", "unigram"),
    "joined": ("opt", "rm", "unit", "char"),
    "bytes": ("gpt2", "ts", "unigram", "hf"),
}


@dataclass
class Recipe:
    """A recipe folder: `dump/`, `exp/`, `data/` with relative paths inside, as run.sh makes them."""

    folder: Path

    def inside(self) -> contextlib.chdir:
        return contextlib.chdir(self.folder)

    def experiment(self, name: str) -> Path:
        """Relative path of an experiment, made when it is first asked for."""
        path = Path("exp") / f"asr_sld_{name}"
        if not (self.folder / path).exists():
            with self.inside():
                _experiment(path, *VARIANTS[name])
        return path

    def decoded(self, name: str) -> tuple[dict[str, str], dict[str, str]]:
        """Texts and scores that stage 8 gives for the test set."""
        exp = self.experiment(name)
        out = exp / "decode_greedy" / "test"
        with self.inside():
            case = VARIANTS[name][1]
            decode.main(
                [
                    *("--exp_dir", str(exp), "--checkpoint", "valid.ce_text.ave.pth", "--out_dir", str(out)),
                    *("--speech_text", f"dump/raw/test/text.{case}.mfcc_km{K}"),
                    *("--length_stats", f"exp/stats_{name}/train/length_stats.json"),
                ]
            )
            return read_table(out / "text", allow_empty_value=True), read_table(out / "scores")

    def pack(self, name: str, out: Path, *more: str) -> Path:
        """A pack of an experiment, by the command."""
        exp = self.experiment(name)
        with self.inside():
            pack_command.main(
                [
                    *("--exp_dir", str(exp), "--out", str(out), "--license", "cc-by-sa-4.0"),
                    *("--token_lists", "data/token_list/tgt_bpe_unigram40_ts_en", *more),
                ]
            )
        return out

    def wavs(self) -> dict[str, str]:
        """Test utterances and their files."""
        return read_table(self.folder / "dump/raw/org/test/wav.scp")


def _experiment(path: Path, model_type: str, case: str, unit_type: str, text_type: str) -> None:
    lists = Path("data/token_list")
    unit_path = lists / f"src_bpe_unigram60_{case}_mfcc_km{K}" / "bpe.model"
    text_path = {
        "word": lists / "word_en" / "tokens.txt",
        "char": lists / "char_en" / "tokens.txt",
        "unigram": lists / "tgt_bpe_unigram40_ts_en" / "bpe.model",
        "hf": Path("byte_level"),
    }[text_type]
    units = build_unit_tokenizer(unit_type, unit_path, K)
    text = build_text_tokenizer(text_type, text_path)
    name = path.name.removeprefix("asr_sld_")
    unit_text = f"dump/raw/train/text.{case}.mfcc_km{K}"
    collect_shapes.main(
        [
            *("--speech_text", unit_text, "--text", "dump/raw/train/text.ts.en"),
            *("--speech_token_type", unit_type, "--speech_token_path", str(unit_path)),
            *("--num_clusters", str(K), "--text_token_type", text_type, "--text_token_path", str(text_path)),
            *("--max_positions", "96", "--max_text", "8", "--out_dir", f"exp/stats_{name}/train"),
        ]
    )
    conf = {
        "backbone_source": None, "backbone_conf": {"model_type": model_type, **BACKBONES[model_type]},
        "vocabulary": Vocabulary(text=text.size, speech=units.size).as_dict(),
        "speech_token_type": unit_type, "speech_token_path": str(unit_path), "num_clusters": K,
        "text_token_type": text_type, "text_token_path": str(text_path), "template": "asr_sld",
        "max_positions": 96, "max_text": 8, "dropout": 0.1, "residual_dropout": 0.1, "seed": 0,
        "init_new_rows": "normal", "criterion": "speech_text", "criterion_conf": {"objective": "sld"},
        "pad_id": text.spare_id,
        "train_shape_file": [f"exp/stats_{name}/train/sequence_shape"],
        "train_data_path_and_name_and_type": [
            [unit_text, "speech", "text"], ["dump/raw/train/text.ts.en", "text", "text"],
        ],
    }  # fmt: skip
    path.mkdir(parents=True)
    model = _trained(conf, units, text, unit_text)
    torch.save({f"model.{k}": v for k, v in model.state_dict().items()}, path / "valid.ce_text.ave.pth")
    (path / "config.yaml").write_text(yaml.safe_dump(conf))


def _trained(conf: dict, units: Tokenizer, text: Tokenizer, unit_text: str) -> DecoderOnlyLM:
    """A model that has seen the training set a few times: it ends by itself, and hypotheses differ."""
    torch.manual_seed(3)
    model, vocabulary = build_decoder_only(conf).train(), Vocabulary.from_dict(conf["vocabulary"])
    words = read_table("dump/raw/train/text.ts.en")
    rows, firsts = [], []
    for utterance, characters in read_table(unit_text).items():
        speech = [*vocabulary.to_joint("speech", units.encode(characters)), vocabulary.id("<speech_end>")]
        firsts.append(len(speech))
        rows.append(torch.tensor([*speech, *text.encode(words[utterance]), vocabulary.id("<text_end>")]))
    tokens = torch.nn.utils.rnn.pad_sequence(rows, True, -100)
    targets = tokens.masked_fill(torch.arange(tokens.size(1)) < torch.tensor(firsts)[:, None], -100)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(60):
        logits = model(tokens.clamp(min=0))[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def _data_dir(recordings: Path, index: int, out: Path) -> None:
    wavs = sorted(recordings.glob(f"[0-9]_*_{index}.wav"))
    spoken = {f"{speaker}-{path.stem}": path for path in wavs for speaker in [path.stem.split("_")[1]]}
    DataDir(
        wav={utterance: str(path) for utterance, path in spoken.items()},
        utt2spk={utterance: utterance.partition("-")[0] for utterance in spoken},
        text={utterance: NUMBERS[int(path.stem[0])] for utterance, path in spoken.items()},
    ).write(out)


@pytest.fixture(scope="session")
def recipe(fsdd_dir: Path, train_byte_level, tmp_path_factory) -> Recipe:
    """Stages 1 to 5 on one recording of each digit and speaker; the test set is another one."""
    folder = tmp_path_factory.mktemp("recipe")
    with contextlib.chdir(folder):
        kmeans = f"exp/kmeans/mfcc_{K}clusters"
        for index, name in enumerate(("train", "test")):
            _data_dir(fsdd_dir / "recordings", index, Path(f"dump/raw/org/{name}"))
        fit_kmeans.main(
            [
                *("--data_dir", "dump/raw/org/train", "--out_dir", kmeans, *FRONTEND),
                *("--num_clusters", str(K), "--max_frames", "2000", "--max_iter", "5"),
            ]
        )
        for name in ("train", "test"):
            data, extracted = f"dump/raw/org/{name}", f"dump/extracted/mfcc/{name}"
            extract_units.main(
                ["--data_dir", data, "--kmeans_dir", kmeans, "--out_dir", extracted, *FRONTEND]
            )
            gather_units.main(
                [
                    *("--data_dir", data, "--out_dir", extracted, "--dump_dir", f"dump/raw/{name}"),
                    *("--suffix", f"mfcc_km{K}"),
                ]
            )
        raw, lists = "dump/raw/train", "data/token_list"
        for arguments in (
            f"--kind unit --model_type unigram --vocab_size 60 --input {raw}/text.ts.mfcc_km{K} "
            f"--out_dir {lists}/src_bpe_unigram60_ts_mfcc_km{K}",
            f"--kind unit --model_type unigram --vocab_size 60 --input {raw}/text.rm.mfcc_km{K} "
            f"--out_dir {lists}/src_bpe_unigram60_rm_mfcc_km{K}",
            f"--kind text --model_type unigram --vocab_size 40 --input {raw}/text.ts.en "
            f"--out_dir {lists}/tgt_bpe_unigram40_ts_en",
            f"--kind text --model_type word --input {raw}/text.ts.en --out_dir {lists}/word_en",
            f"--kind text --model_type char --input {raw}/text.ts.en --out_dir {lists}/char_en",
        ):
            train_subword.main(arguments.split())
        train_byte_level(NUMBERS, 270).save_pretrained("byte_level")
    return Recipe(folder)


@pytest.fixture(scope="session")
def packed(recipe: Recipe, tmp_path_factory) -> Callable[[str], Path]:
    """A variant's pack as a directory, far from the recipe; not to be changed."""

    @functools.cache
    def make(name: str) -> Path:
        return recipe.pack(name, tmp_path_factory.mktemp("packed") / name)

    return make


@pytest.fixture(scope="session")
def long_recording(librispeech_dir: Path, tmp_path_factory) -> Path:
    """Six real utterances with a second of silence between them, 16 kHz."""
    import numpy as np

    files = sorted(librispeech_dir.rglob("*.flac"))[:6]
    parts = [np.concatenate([soundfile.read(file)[0], np.zeros(16000)]) for file in files]
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.concatenate(parts), 16000)
    return path
