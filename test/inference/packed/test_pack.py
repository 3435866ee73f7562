"""A pack is the same from the same experiment, holds nothing else, and is refused when it was changed."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from espnet_sld.bin import pack as pack_command
from espnet_sld.errors import InputError
from espnet_sld.inference import unpack as unpack_module
from espnet_sld.inference.archive import MANIFEST, json_bytes, safe_name, write_pack
from espnet_sld.inference.unpack import Pack, recipe_options, unpack
from espnet_sld.units.kmeans import KMeans


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def copy(packed, tmp_path) -> Path:
    """A pack to be changed."""
    return Path(shutil.copytree(packed("plain"), tmp_path / "copy"))


@pytest.fixture
def zipped(recipe, tmp_path) -> Path:
    return recipe.pack("plain", tmp_path / "plain.zip")


def test_the_same_experiment_gives_the_same_bytes(recipe, packed, tmp_path):
    first, second = recipe.pack("plain", tmp_path / "a.zip"), recipe.pack("plain", tmp_path / "b.zip")
    assert Pack.open(first, cache_dir=tmp_path / "cache").digest != ""
    assert "# a\n" in zipfile.ZipFile(first).read("README.md").decode()
    more = ("--name", "digits")
    first, second = (recipe.pack("plain", path, *more) for path in (first, second))
    assert first.read_bytes() == second.read_bytes()
    folder = recipe.pack("plain", tmp_path / "folder", *more)
    with zipfile.ZipFile(first) as archive:
        assert contents(folder) == {name: archive.read(name) for name in archive.namelist()}
    again = recipe.pack("plain", folder, *more)  # replaces a pack
    assert Pack.open(again).digest == Pack.open(first, cache_dir=tmp_path / "cache").digest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "pieces", "bytes"])
def test_a_pack_holds_no_pickle_and_no_path_of_the_machine(recipe, packed, name):
    found = contents(packed(name))
    assert {Path(file).suffix for file in found} <= {
        ".json", ".safetensors", ".model", ".vocab", ".txt", ".md", ".jinja",
    }  # fmt: skip
    assert not any(str(recipe.folder).encode() in data for data in found.values())
    assert not any(b"dump/raw" in data for data in found.values())
    assert all(data[:2] not in (b"\x80\x02", b"\x80\x04", b"PK") for data in found.values())
    lists = {file.split("/")[1] for file in found if file.startswith("token_list/")}
    assert "tgt_bpe_unigram40_ts_en" in lists and any(file.startswith("src_bpe_") for file in lists)


def test_the_model_card_is_what_the_hub_reads(packed, recipe, tmp_path):
    recipe.decoded("plain")
    scored = {"set": "test", "decode_tag": "decode_greedy", "wer": 12.5, "cer": 10.0, "hits": 1, "sub": 3,
              "ins": 1, "del": 2, "ref_words": 48, "utterances": 48, "ref_chars": 10, "char_errors": 1,
              "sentence_errors": 1, "checkpoint": "valid.ce_text.ave.pth"}  # fmt: skip
    folder = recipe.folder / "exp" / "asr_sld_plain" / "decode_x"
    for name, checkpoint in (("test", "valid.ce_text.ave.pth"), ("other", "5epoch.pth")):
        (folder / name).mkdir(parents=True)
        text = json.dumps({**scored, "set": name, "checkpoint": checkpoint})
        (folder / name / "result.json").write_text(text)
    out = recipe.pack("plain", tmp_path / "digits", "--language", "en", "--datasets", "free-spoken-digits")
    shutil.rmtree(folder)
    card = ModelCard.load(out / "README.md")
    assert (card.data.license, card.data.language) == ("cc-by-sa-4.0", "en")
    assert card.data.datasets == ["free-spoken-digits"]
    (result,) = card.data.eval_results  # that of another checkpoint is left out
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("wer", 12.5, "test")
    assert "| decode_greedy | test | 12.50 | 10.00 | 3/1/2 of 48 |" in card.text
    assert "lower case; characters `efghinorstuvwxz`" in card.text
    assert 'Speech2Text.from_pretrained("digits")' in card.text


@pytest.mark.parametrize(
    "file", ["model.safetensors", "kmeans/km_12.safetensors", "pack.json", "token_list/word_en/tokens.txt"]
)
def test_a_changed_file_is_refused(copy, file):
    data = bytearray((copy / file).read_bytes())
    data[-2] ^= 1
    (copy / file).write_bytes(data)
    with pytest.raises(InputError, match=rf"{file}: was changed or damaged"):
        Pack.open(copy)


def test_a_pack_that_is_not_whole_or_has_more_is_refused(copy):
    (copy / "README.md").write_text("words for people may be edited")
    (copy / ".gitattributes").write_text("the hub's own")
    Pack.open(copy)
    (copy / "token_list" / "extra.json").write_text("{}")
    with pytest.raises(InputError, match=r"extra.json: is not part of the pack"):
        Pack.open(copy)
    (copy / "token_list" / "extra.json").unlink()
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match=r"config.json: is missing"):
        Pack.open(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(InputError, match=r"no manifest.json in it"):
        Pack.open(copy)
    with pytest.raises(InputError, match="no such directory or zip, and no name on the hub"):
        Pack.open(copy / "none")


def test_another_pack_than_the_one_asked_for_is_refused(copy, zipped, tmp_path):
    digest = Pack.open(copy).digest
    assert Pack.open(copy, digest=digest.upper()).digest == digest
    for path in (copy, zipped):
        with pytest.raises(InputError, match="is another pack than you asked for"):
            Pack.open(path, digest="0" * 64, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("[]", "damaged or not a pack's"),
        ("{", "damaged or not a pack's"),
        ({"format": "other"}, "not a pack of this toolkit"),
        ({"version": 2}, "pack version 2, this toolkit reads 1"),
        ('{"format": "espnet_sld.pack", "kind": "model", "files": {}}', "damaged or not a pack's"),
        ("[" * 100_000, "damaged or not a pack's"),
        ({"files": {"a.json": {"bytes": "1", "sha256": "0"}}}, "damaged or not a pack's"),
        ({"files": {"a.json": {"bytes": float("inf"), "sha256": "0"}}}, "damaged or not a pack's"),
        (
            {"files": {name: {"bytes": 1, "sha256": "0"} for name in ("a.json", "a.json/b.json")}},
            "names 'a.json/b.json'",
        ),
        ({"files": {"README.md/b.json": {"bytes": 1, "sha256": "0"}}}, "names 'README.md/b.json'"),
        ({"files": {"../evil.json": {"bytes": 1, "sha256": "0"}}}, "names '../evil.json'"),
        ({"files": {"/etc/evil.json": {"bytes": 1, "sha256": "0"}}}, "names '/etc/evil.json'"),
        ({"files": {"code.py": {"bytes": 1, "sha256": "0"}}}, "names 'code.py'"),
        ({"files": {"big.json": {"bytes": 1 << 40, "sha256": "0"}}}, "more than a pack may hold"),
        ({"files": {"a.json": {"bytes": -1, "sha256": "0"}}}, "more than a pack may hold"),
    ],
)
def test_a_foreign_manifest_is_refused(copy, manifest, message):
    values = json.loads((copy / MANIFEST).read_text())
    text = manifest if isinstance(manifest, str) else json.dumps({**values, **manifest})
    (copy / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=message):
        Pack.open(copy)


def test_only_plain_names_are_safe():
    good = ["model.safetensors", "a/b/c.json", "token_list/word_en/tokens.txt", "_a-b+c=d@e.txt"]
    bad = ["", "/a.json", "../a.json", "a/../b.json", "a//b.json", "./a.json", "a\\b.json", "C:/a.json",
           ".hidden.json", "a/.git/config.json", "a.py", "a.pkl", "a.pth", "a", "a.json/", "a\n.json",
           "x" * 300 + ".json", "é.json", "a.safetensors.bin"]  # fmt: skip
    assert [name for name in good if not safe_name(name)] == []
    assert [name for name in bad if safe_name(name)] == []


def test_a_damaged_cache_of_a_zip_is_made_again(zipped, tmp_path):
    cache = tmp_path / "cache"
    pack = Pack.open(zipped, cache_dir=cache)
    assert pack.root.parent.parent == cache and pack.root.name == pack.digest
    before = contents(pack.root)
    (pack.root / "model.safetensors").write_bytes(b"")
    assert contents(Pack.open(zipped, cache_dir=cache).root) == before
    assert [path.name for path in pack.root.parent.iterdir()] == [pack.digest]  # nothing left over


def rewritten(source: Path, target: Path, change) -> Path:
    """A zip with other entries: `change` gets and returns (info, data) pairs."""
    with zipfile.ZipFile(source) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(target, "w") as archive:
        for info, data in change(entries):
            archive.writestr(info, data)
    return target


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: [*e, (zipfile.ZipInfo("../evil.json"), b"1")], "'../evil.json' is not in the manifest"),
        (lambda e: [*e, (zipfile.ZipInfo("extra.json"), b"1")], "'extra.json' is not in the manifest"),
        (lambda e: [*e, (zipfile.ZipInfo("config.json"), b"1")], "occur twice"),
        (lambda e: [x for x in e if x[0].filename != "pack.json"], "pack.json is missing"),
        (lambda e: [x for x in e if x[0].filename != MANIFEST], "no manifest.json in it"),
        (lambda e: [(i, d + b"x" * 9 if i.filename == "config.json" else d) for i, d in e], "longer than"),
        (lambda e: [(i, b"x" + d[1:] if i.filename == "config.json" else d) for i, d in e], "was changed"),
    ],
)
def test_a_changed_zip_is_refused_and_leaves_nothing(zipped, tmp_path, change, message):
    bad = rewritten(zipped, tmp_path / "bad.zip", change)
    with pytest.raises(InputError, match=message):
        Pack.open(bad, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.json")) == []
    assert not (tmp_path / "evil.json").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_cannot_be_decompressed_is_refused(tmp_path, method):
    good = tmp_path / "good.zip"
    write_pack(good, "tokenizer", {"pack.json": json_bytes({"name": "demo" * 500})})
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(tmp_path / "bad.zip", "w", method) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
        start = target.getinfo("pack.json").header_offset + 30 + len("pack.json")
    damaged = bytearray((tmp_path / "bad.zip").read_bytes())
    damaged[start + 2 : start + 5] = b"\xff\x00\xff"
    (tmp_path / "bad.zip").write_bytes(damaged)
    with pytest.raises(InputError, match="not a zip, or damaged"):
        Pack.open(tmp_path / "bad.zip", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("when", ["before", "at"])
def test_parallel_jobs_may_unpack_one_zip(tmp_path, monkeypatch, when):
    """Another job's copy comes while this one unpacks, or between its last look and its own renaming."""
    digest = write_pack(tmp_path / "demo.zip", "tokenizer", {"pack.json": b"{}", "a.json": b"{}"})
    root = tmp_path / "cache" / "packs" / digest
    quicker: list[int] = []

    def other() -> None:
        monkeypatch.undo()
        write_pack(root, "tokenizer", {"pack.json": b"{}", "a.json": b"{}"})
        quicker.append((root / "a.json").stat().st_ino)

    module, name = (unpack_module, "extract_zip") if when == "before" else (os, "replace")
    usual = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: (other(), usual(*given)))
    pack = Pack.open(tmp_path / "demo.zip", cache_dir=tmp_path / "cache")
    assert pack.root == root and pack.digest == digest
    assert (root / "a.json").stat().st_ino == quicker[0]  # the other job may be reading it
    assert [path.name for path in root.parent.iterdir()] == [digest]  # nothing left over


def test_a_link_in_a_zip_and_a_zip_that_is_none_are_refused(zipped, tmp_path):
    def link(entries):
        for info, data in entries:
            if info.filename == "config.json":
                info.external_attr = 0o120777 << 16
            yield info, data

    with pytest.raises(InputError, match=r"'config.json' is a link"):
        Pack.open(rewritten(zipped, tmp_path / "link.zip", link), cache_dir=tmp_path / "cache")
    whole = zipped.read_bytes()
    for name, data in (("cut.zip", whole[: len(whole) // 2]), ("text.zip", b"hello")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="not a zip, or damaged"):
            Pack.open(tmp_path / name, cache_dir=tmp_path / "cache")


def test_unpacking_gives_the_directory_and_overwrites_nothing_else(zipped, packed, tmp_path):
    out = tmp_path / "out"
    pack = unpack(zipped, out, cache_dir=tmp_path / "cache")
    assert (pack.root, pack.kind) == (out, "model")
    assert set(contents(out)) == set(contents(packed("plain")))
    assert unpack(zipped, out, cache_dir=tmp_path / "cache").digest == pack.digest
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="exists and is not this pack"):
        unpack(zipped, tmp_path / "mine", cache_dir=tmp_path / "cache")
    for target in (tmp_path / "mine", tmp_path):
        with pytest.raises(InputError, match="exists and is not such a pack"):
            write_pack(target, "model", {"a.json": b"{}"})
    with pytest.raises(InputError, match=r"code.py: no file that a pack can hold"):
        write_pack(tmp_path / "new", "model", {"code.py": b""})


def test_parts_that_do_not_belong_together_are_not_packed(recipe, tmp_path):
    exp = recipe.experiment("plain")
    with recipe.inside():
        other = tmp_path / "km"
        KMeans(np.zeros((5, 39)), KMeans.load("exp/kmeans/mfcc_12clusters").info).save(other)
        for more, message in (
            (["--kmeans_dir", str(other)], "has 5 clusters, the model in .* 12"),
            (["--frontend", "mfcc"], "give the front-end options of stage 3"),
            (["--token_lists", "dump"], "no tokens.txt or bpe.model in it"),
            (["--length_stats", "none.json"], "none.json: no such file"),
            (["--checkpoint", "none.pth"], "none.pth: no such checkpoint"),
        ):
            with pytest.raises(InputError, match=message):
                pack_command.main(["--exp_dir", str(exp), "--out", str(tmp_path / "x"), *more])
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="--kmeans_dir is needed"):
        pack_command.main(["--out", str(tmp_path / "x")])


@pytest.mark.parametrize("template", ["tts", "mt"])
def test_a_model_that_recognises_no_speech_is_not_packed(recipe, tmp_path, template):
    """Of a mixture's model the first task is its template: a pack of it would be no `Speech2Text`."""
    with recipe.inside():
        exp = Path(shutil.copytree(recipe.experiment("plain"), f"exp/asr_sld_{tmp_path.name}"))
        conf = yaml.safe_load((exp / "config.yaml").read_text())
        (exp / "config.yaml").write_text(yaml.safe_dump({**conf, "template": template}))
        with pytest.raises(InputError, match=f"a model of '{template}' is no speech rec"):
            pack_command.main(["--exp_dir", str(exp), "--out", str(tmp_path / "x")])
        shutil.rmtree(exp)


def test_an_option_with_a_line_end_is_refused(copy):
    info = json.loads((copy / "pack.json").read_text())
    info["frontend"]["name"] = "mfcc\nstage=9"
    pack = Pack(copy, "model", "", info)
    with pytest.raises(InputError, match="characters that no option has"):
        recipe_options(pack, "exp/frontend")


def test_json_of_a_pack_is_sorted_and_plain(packed):
    for name in ("pack.json", "config.json", MANIFEST):
        data = (packed("plain") / name).read_bytes()
        assert data == json_bytes(json.loads(data))
    front = (packed("plain") / "README.md").read_text().split("---")[1]
    assert yaml.safe_load(front)["pipeline_tag"] == "automatic-speech-recognition"
