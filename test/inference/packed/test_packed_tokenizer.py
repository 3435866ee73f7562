"""A packed tokeniser serves a recipe that nothing was fitted for."""

from pathlib import Path

import numpy as np
import pytest

from espnet_sld.bin import extract_units
from espnet_sld.bin import pack as pack_command
from espnet_sld.bin import unpack as unpack_command
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.inference.unpack import Pack, lay_out, unpack
from espnet_sld.units.kmeans import KMeans

EXTRACT = ["--frontend", "mfcc", "--frontend_conf", "frame_shift_ms=40", "high_freq=4000"]


@pytest.fixture
def tokenizer(recipe, tmp_path) -> Path:
    """A pack of a tokeniser alone."""
    out = tmp_path / "units.zip"
    with recipe.inside():
        pack_command.main(
            [
                *("--out", str(out), "--kmeans_dir", "exp/kmeans/mfcc_12clusters", "--unit_case", "rm"),
                *("--token_lists", "data/token_list/src_bpe_unigram60_rm_mfcc_km12"),
                "data/token_list/tgt_bpe_unigram40_ts_en",
            ]
        )
    return out


@pytest.mark.parametrize("kind", ["tokenizer", "model"])
def test_a_packed_tokeniser_gives_another_recipe_the_same_units(
    recipe, packed, tokenizer, kind, tmp_path, capsys, monkeypatch
):
    """On a data directory that nothing was fitted on, in a folder of its own."""
    monkeypatch.setenv("ESPNET_SLD_CACHE", str(tmp_path / "cache"))
    source = tokenizer if kind == "tokenizer" else packed("pieces")
    kmeans_dir, lists = tmp_path / "exp/kmeans/mfcc_12clusters", tmp_path / "data/token_list"
    arguments = ["--pack", str(source), "--kmeans_dir", str(kmeans_dir), "--token_lists", str(lists)]
    unpack_command.main(arguments)
    unpack_command.main(arguments)  # up to date
    for name in ("km_12.mdl", "km_12.json", "../distinct_cjk_token_lists"):
        assert (kmeans_dir / name).is_file()
    for name in ("src_bpe_unigram60_rm_mfcc_km12", "tgt_bpe_unigram40_ts_en"):
        for file in ("bpe.model", "tokens.txt"):
            original = recipe.folder / "data/token_list" / name / file
            assert (lists / name / file).read_bytes() == original.read_bytes()
    data = DataDir.read(recipe.folder / "dump/raw/org/test")
    data.select(data.utterances[:5]).write(tmp_path / "data/few")
    out = tmp_path / "dump"
    extract_units.main(
        [
            *("--data_dir", str(tmp_path / "data/few"), "--kmeans_dir", str(kmeans_dir)),
            "--out_dir",
            str(out),
            *EXTRACT,
        ]
    )
    found = (out / "shards" / "pseudo_labels_km12.1of1.txt").read_text()
    whole = (recipe.folder / "dump/extracted/mfcc/test/pseudo_labels_km12.txt").read_text()
    assert found == "".join(whole.splitlines(keepends=True)[:5])
    capsys.readouterr()
    unpack_command.main(["--pack", str(source), "--print_options", "true"])
    options = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    conf = options.pop("kmeans_feature_conf").split()
    assert {"frame_shift_ms=40", "high_freq=4000", "normalisation=mean"} <= set(conf)
    assert options == {
        "kmeans_feature": "mfcc", "nclusters": "12", "unit_case": "rm",
        "unit_nbpe": "60", "text_nbpe": "40", "lang": "en",
    }  # fmt: skip


def test_laying_out_never_overwrites_another_kmeans(tokenizer, tmp_path):
    pack = Pack.open(tokenizer, cache_dir=tmp_path / "cache")
    with pytest.raises(InputError, match="holds a tokenizer without a model"):
        pack.trained()
    kmeans_dir = tmp_path / "km"
    KMeans(np.ones((12, 39)), pack.kmeans().info).save(kmeans_dir)
    before = (kmeans_dir / "km_12.safetensors").read_bytes()
    with pytest.raises(InputError, match="is there already, and not the one of"):
        lay_out(pack, kmeans_dir, tmp_path / "lists")
    assert (kmeans_dir / "km_12.safetensors").read_bytes() == before and not (tmp_path / "lists").exists()


def test_laying_out_leaves_files_alone_that_were_not_verified(tokenizer, tmp_path):
    """Names that start with a dot are in no manifest: they may be anybody's."""
    pack = unpack(tokenizer, tmp_path / "pack", cache_dir=tmp_path / "cache")
    for name in ("kmeans/.evil.json", "token_list/.git/evil.json"):
        (pack.root / name).parent.mkdir(exist_ok=True)
        (pack.root / name).write_text("{}")
    (pack.root / "kmeans" / ".more").mkdir()
    lay_out(Pack.open(pack.root), tmp_path / "km", tmp_path / "lists")
    found = sorted(path.name for folder in ("km", "lists") for path in (tmp_path / folder).rglob("*"))
    assert "km_12.safetensors" in found and "bpe.model" in found
    assert [name for name in found if name in (".evil.json", ".git", "evil.json", ".more")] == []
