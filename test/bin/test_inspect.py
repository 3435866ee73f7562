"""bin.inspect: every kind of thing that the stages write, small and real, told in words with counts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.bin.inspect import KINDS, main
from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.errors import InputError
from espnet_sld.images.patches import PatchKMeans
from espnet_sld.inference.archive import write_pack
from espnet_sld.tokens.train import train_subword
from espnet_sld.units.frontends.mfcc import Mfcc
from espnet_sld.units.kmeans import KMeans
from espnet_sld.units.unit_text import deduplicate, ids_to_text, write_character_list


@pytest.fixture
def told(capsys):
    """Facts that are printed of a path, and the line that says what it is under ""."""

    def tell(path: Path) -> dict[str, str]:
        assert main([str(path)]) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        assert head.startswith(f"{path}: ")
        facts = dict(line.strip().split("  ", 1) for line in lines)
        return {"": head.removeprefix(f"{path}: ")} | {name: fact.strip() for name, fact in facts.items()}

    return tell


@pytest.fixture(scope="module")
def spoken(librispeech_dir, tmp_path_factory) -> Path:
    """A data directory of two real utterances, its units with the k-means, its token lists."""
    root = tmp_path_factory.mktemp("spoken")
    (transcripts,) = list(librispeech_dir.rglob("*.trans.txt"))[:1]
    rows = [line.split(" ", 1) for line in transcripts.read_text().splitlines()[:2]]
    paths = {name: str(transcripts.with_name(f"{name}.flac")) for name, _ in rows}
    waves = {name: soundfile.read(path, dtype="float32")[0] for name, path in paths.items()}
    data = DataDir(
        paths, dict.fromkeys(paths, rows[0][0].split("-")[0]), {name: text.lower() for name, text in rows},
        utt2dur={name: len(wave) / 16000 for name, wave in waves.items()},
    )  # fmt: skip
    data.write(root / "data")
    features = {name: Mfcc().extract([wave])[0] for name, wave in waves.items()}
    frames = np.concatenate(list(features.values()))
    kmeans = KMeans(frames[:: len(frames) // 12][:12], {"frontend": Mfcc().describe(), "frames": 12})
    kmeans.save(root / "mfcc_12clusters")
    dump, extracted = root / "dump", root / "extracted"
    for folder in (dump, extracted):
        folder.mkdir()
    units = {name: kmeans.assign(frame) for name, frame in features.items()}
    text = "".join(f"{name} {ids_to_text(deduplicate(ids)[0])}\n" for name, ids in units.items())
    (dump / "text.rm.mfcc_km12").write_text(text, encoding="utf-8")
    labels = "".join(f"{name} {' '.join(map(str, ids))}\n" for name, ids in units.items())
    (extracted / "pseudo_labels_km12.txt").write_text(labels)
    for name in ("text", "utt2spk"):
        (dump / name.replace("text", "text.ts.en")).write_text((root / "data" / name).read_text())
    train_subword([dump / "text.ts.en"], root / "word_en", kind="text", model_type="word")
    train_subword(
        [dump / "text.rm.mfcc_km12"], root / "src_bpe", kind="unit", model_type="unigram", vocab_size=20
    )
    return root


def test_a_data_directory(told, spoken):
    facts = told(spoken / "data")
    data = DataDir.read(spoken / "data")
    words = [word for sentence in data.text.values() for word in sentence.split()]
    assert facts[""] == "a Kaldi data directory"
    assert (facts["utterances"], facts["recordings"], facts["speakers"]) == ("2", "2", "1")
    assert facts["words"] == f"{len(words)}, {len(set(words))} different"
    assert f"{sum(data.utt2dur.values()) / 3600:.2f} h" in facts["audio"]
    first = data.utterances[0]
    assert facts["example"].startswith(f"{first} {data.text[first][:40]}")


def test_segments_and_problems_of_a_data_directory_are_told(told, tmp_path):
    data = DataDir(
        {"r": "r.wav"}, {"s-1": "s", "s-2": "s"}, segments={"s-1": Span("r"), "s-2": Span("r", 1, 2)}
    )
    data.write(tmp_path / "set")
    assert told(tmp_path / "set")["recordings"] == "1, cut by segments"
    assert told(tmp_path / "set")["words"] == "no transcripts (no file text)"
    (tmp_path / "set" / "utt2spk").write_text("s-2 s\ns-1 s\n")
    assert told(tmp_path / "set")["problems"].startswith("1; utils/validate_data_dir")


def test_unit_text_and_its_directory(told, spoken):
    facts = told(spoken / "dump" / "text.rm.mfcc_km12")
    lines = [line.split() for line in (spoken / "dump" / "text.rm.mfcc_km12").read_text().splitlines()]
    total = sum(len(text) for _, text in lines)
    assert facts[""].startswith("unit text")
    assert facts["utterances"] == "2" and facts["units"].startswith(f"{total:,}".replace(",", " "))
    assert facts["by its name"] == "12 clusters of mfcc; rm: equal neighbours removed"
    assert facts["first units"].startswith(f"{ord(lines[0][1][0]) - 0x4E00} ")
    assert told(spoken / "dump")["text.rm.mfcc_km12"] == "2 lines"


def test_pseudo_labels(told, spoken):
    path = spoken / "extracted" / "pseudo_labels_km12.txt"
    ids = [int(unit) for line in path.read_text().splitlines() for unit in line.split()[1:]]
    facts = told(path)
    assert facts[""] == "units, a cluster id for each frame"
    assert facts["ids"].startswith(f"{len(ids):,}".replace(",", " "))
    assert facts["by its name"] == f"K = 12 clusters; {12 - len(set(ids))} of them do not occur here"


def test_transcripts(told, spoken):
    words = (spoken / "dump" / "text.ts.en").read_text().split()
    assert told(spoken / "dump" / "text.ts.en")["words"].startswith(f"{len(words) - 2},")


def test_token_lists_and_subword_models(told, spoken):
    tokens = (spoken / "word_en" / "tokens.txt").read_text().splitlines()
    facts = told(spoken / "word_en")
    assert facts[""] == "a token list" and facts["tokens"].startswith(f"{len(tokens)}, first <blank> <unk>")
    assert facts["made of"] == "2 lines of text: word"
    assert told(spoken / "word_en" / "tokens.txt")["tokens"] == facts["tokens"]
    facts = told(spoken / "src_bpe")
    assert facts[""] == "a SentencePiece model with its token list" and "unit: unigram" in facts["made of"]
    assert facts["example"].startswith("▁")


def test_kmeans_and_the_character_list(told, spoken, tmp_path):
    facts = told(spoken / "mfcc_12clusters")
    assert facts["centroids"] == "12 in 39 dimensions"
    assert facts["front-end"].startswith("mfcc ") and "num_ceps=13" in facts["front-end"]
    write_character_list(tmp_path / "distinct_cjk_token_lists")
    assert told(tmp_path / "distinct_cjk_token_lists")["lines"] == "20 902, whole"
    (tmp_path / "distinct_cjk_token_lists").write_text("0 一\n1 丁\n")
    assert "short" in told(tmp_path / "distinct_cjk_token_lists")["lines"]


def test_an_image_quantiser_and_its_tokens(told, tmp_path):
    images = np.random.default_rng(0).random((20, 8, 8, 1), dtype=np.float32)
    PatchKMeans.fit(images, codebook_size=6, patch=4).save(tmp_path / "quantiser")
    facts = told(tmp_path / "quantiser")
    assert (facts["images"], facts["tokens"]) == ("8 × 8 × 1", "4 an image (2 × 2)")
    assert facts["codebook"].startswith("6")
    (tmp_path / "image_tokens").write_text("a 0 1 2 3\nb 5 5 5 5\n")
    assert told(tmp_path / "image_tokens")["ids"] == "8, 4.0 a line, longest 4"


def test_a_mixture(told, spoken, tmp_path):
    files = f"speech: {spoken}/dump/text.rm.mfcc_km12, text: {spoken}/dump/text.ts.en"
    (tmp_path / "mixture.yaml").write_text(
        f"train:\n- {{name: asr, task: asr, weight: 2, {files}}}\n"
        f"valid:\n- {{name: asr, task: asr, speech: nowhere, text: {spoken}/dump/text.ts.en}}\n"
    )
    facts = told(tmp_path / "mixture.yaml")
    assert facts["tasks"] == "asr <generatetext>"
    assert "weight 2" in facts["train asr"] and facts["train asr"].endswith("2 utterances")
    assert facts["valid asr"].endswith("not there: nowhere")


def test_a_pack_and_its_zip(told, tmp_path):
    info = {"name": "demo", "license": "mit", "language": "en", "frontend": {"name": "mfcc", "conf": {}},
            "units": {"num_clusters": 12, "case": "rm"}}  # fmt: skip
    files = {"pack.json": json.dumps(info).encode(), "a.json": b"{}"}
    for name in ("pack", "pack.zip"):
        digest = write_pack(tmp_path / name, "tokenizer", files)
    facts = told(shutil.copytree(tmp_path / "pack", tmp_path / "pack {a}"))
    assert facts["next"] == f"./run.sh --tokenizer {tmp_path}/pack {{a}}"
    facts = told(tmp_path / "pack")
    assert facts[""].startswith("a packed tokeniser") and facts["units"] == "12 clusters, rm"
    assert facts["digest"] == f"{digest} (all files match)"
    assert told(tmp_path / "pack.zip")["name"] == facts["name"] == "demo, licence mit, language en"
    (tmp_path / "pack" / "a.json").write_text("{ }")
    with pytest.raises(InputError, match="was changed or damaged"):
        main([str(tmp_path / "pack")])


@pytest.mark.parametrize("content", [b"{", b"[1]", b'"demo"'])
def test_a_zip_with_damaged_words_about_it_is_named(tmp_path, content):
    write_pack(tmp_path / "pack.zip", "tokenizer", {"pack.json": content})
    with pytest.raises(InputError, match=r"pack.zip: its pack.json is damaged"):
        main([str(tmp_path / "pack.zip")])


def test_nothing_known_names_what_could_be_inspected(spoken, tmp_path):
    with pytest.raises(InputError, match=r"in it these can be inspected: data, dump, mfcc_12clusters"):
        main([str(spoken)])
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\0\0")
    with pytest.raises(InputError, match=r"photo.jpg: none of what is known here \(experiment, checkpoint"):
        main([str(tmp_path / "photo.jpg")])
    with pytest.raises(InputError, match="no such file or directory"):
        main([str(tmp_path / "nothing")])


def test_a_damaged_file_is_named_with_its_line(spoken, tmp_path):
    broken = tmp_path / "text.rm.mfcc_km12"
    broken.write_text((spoken / "dump" / broken.name).read_text() + "u3 abc\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"text\.rm\.mfcc_km12:3: not 'utterance characters'"):
        main([str(broken)])


def test_every_kind_has_a_name_of_its_own():
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.slow
def test_soft_labels_and_a_language_model(told, tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    from espnet_sld.models.soft_label_store import SoftLabelWriter
    from espnet_sld.models.teacher import load_teacher
    from espnet_sld.models.teacher_training import save_teacher

    tokens = ["<blank>", "<unk>", "one", "two", "three", "<sos/eos>"]
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=8, max_position_embeddings=10, **sizes))
    save_teacher(model, tokens, tmp_path / "bert")
    facts = told(tmp_path / "bert")
    assert facts[""] == "a Hugging Face model directory" and facts["type"].startswith("bert")
    path = tmp_path / "soft.safetensors"
    utterances = {"u1": [2, 3], "u2": [4], "sp0.9-u1": [2, 3]}
    SoftLabelWriter(path, utterances, lambda: load_teacher(tmp_path / "bert", tokens), {}, k=2).write()
    facts = told(path)
    assert facts[""] == "soft labels of a masked LM"
    assert facts["utterances"] == "3 with 2 transcripts" and facts["tokens"].startswith("3, the teacher's 2")


def test_looking_at_data_needs_no_torch(spoken):
    code = (
        "import sys\nfrom espnet_sld.bin.inspect import main\n"
        f"main([{str(spoken / 'data')!r}, {str(spoken / 'dump' / 'text.ts.en')!r}])\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
