"""A front-end with a model travels in a pack, cut to what is used, and gives the same features."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.bin import pack as pack_command
from espnet_sld.errors import InputError
from espnet_sld.inference.front_end_files import build_packed, describe_front_end, name_and_conf
from espnet_sld.inference.unpack import Pack, lay_out, recipe_options
from espnet_sld.units.frontends.base import build_frontend
from espnet_sld.units.kmeans import KMeans


@pytest.fixture(scope="module")
def waves(librispeech_dir):
    files = sorted(librispeech_dir.rglob("*.flac"), key=lambda path: soundfile.info(path).frames)[:2]
    return [soundfile.read(file, dtype="float32")[0][:24000] for file in files]


def written(files: dict[str, bytes], root: Path) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.mark.parametrize(
    ("model", "kind", "form"),
    [
        ("wavlm", "large", "s3prl"),
        ("wavlm", "base", "transformers"),
        ("hubert", "large", "fairseq"),
        ("hubert", "base", "microsoft"),
        ("whisper", None, None),
    ],
)
def test_weights_in_a_pack_give_the_same_features(small_ssl, waves, tmp_path, model, kind, form):
    path = tmp_path / "here" / ("tiny" if form in (None, "transformers") else "tiny.pt")
    if model == "whisper":
        small_ssl.make_whisper(path)
    else:
        getattr(small_ssl, f"make_{model}")(path, kind, form)
    name, conf = f"{path}/2", {"backend": "transformers"}
    original = build_frontend(name, **conf)
    with pytest.raises(InputError, match="give --include_frontend true"):
        describe_front_end(name, conf, original.describe(), include=False)
    info, files = describe_front_end(name, conf, original.describe(), include=True)
    assert info["name"] == "tiny/2" and info["included"] and str(tmp_path) not in str(info)
    assert {Path(file).suffix for file in files} == {".json", ".safetensors"}
    root = written(files, tmp_path / "pack")
    again = build_packed(info, root, "cpu")
    assert again.describe() == original.describe() and again.name == "tiny_2"
    assert again.num_frames(24000) == original.num_frames(24000)
    for ours, theirs in zip(original.extract(waves), again.extract(waves), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    if model != "whisper":  # blocks above the layer stay behind
        assert not any(b"encoder.layers.2." in data for data in files.values())


def test_a_named_model_is_brought_or_asked_for(small_ssl, tmp_path):
    path = small_ssl.make_wavlm(tmp_path / "wavlm.pt")
    conf = {"backend": "transformers", "source": str(path)}
    record = build_frontend("wavlm_large/1", **conf).describe()
    info, files = describe_front_end("wavlm_large/1", conf, record, include=True)
    assert (info["name"], info["conf"]) == ("wavlm_large/1", {"backend": "transformers"})
    root = written(files, tmp_path / "pack")
    assert build_packed(info, root, "cpu").describe() == record
    info, files = describe_front_end("wavlm_large/1", conf, record, include=False)
    assert files == {} and not info["included"]
    assert build_packed(info, root, "cpu", str(path)).describe() == record
    other = small_ssl.make_wavlm(tmp_path / "other.pt", seed=1)
    with pytest.raises(InputError, match="give the right checkpoint as front-end source"):
        build_packed(info, root, "cpu", str(other))
    with pytest.raises(InputError, match="give the front-end options of stage 3"):
        describe_front_end("wavlm_large/1", {**conf, "source": str(other)}, record, include=True)


def test_a_front_end_without_a_model_is_told_from_the_record():
    conf = {"frame_shift_ms": 40, "high_freq": 4000, "normalisation": "none"}
    name, found = name_and_conf(build_frontend("mfcc", **conf).describe())
    assert name == "mfcc" and conf.items() <= found.items()
    for record in ({}, {"model": "wavlm", "layer": 3}, {"name": "mfcc", "num_ceps": 13}):
        with pytest.raises(InputError, match="give --frontend and --frontend_conf"):
            name_and_conf(record)


def test_a_packed_tokeniser_brings_its_front_end_to_another_recipe(small_ssl, waves, recipe, tmp_path):
    path = small_ssl.make_hubert(tmp_path / "here" / "mine.pt")
    front_end = build_frontend(f"{path}/2", backend="transformers")
    frames = np.concatenate(front_end.extract(waves))
    KMeans(frames[::12], {"frontend": front_end.describe()}).save(tmp_path / "km")
    out = tmp_path / "units.zip"
    pack_command.main(
        [
            *("--out", str(out), "--kmeans_dir", str(tmp_path / "km"), "--unit_case", "ts"),
            *("--frontend", f"{path}/2", "--frontend_conf", "backend=transformers"),
            *("--include_frontend", "true", "--token_lists"),
            str(recipe.folder / "data/token_list/word_en"),
        ]
    )
    pack = Pack.open(out, cache_dir=tmp_path / "cache")
    expected = pack.kmeans().assign(front_end.extract(waves)[0])
    folder = tmp_path / "there" / "frontend"
    with pytest.raises(InputError, match="say where to put it"):
        lay_out(pack, tmp_path / "there/km", tmp_path / "there/lists")
    lay_out(pack, tmp_path / "there/km", tmp_path / "there/lists", folder)
    options = recipe_options(pack, folder)
    assert options["kmeans_feature"] == f"{folder}/mine/2"
    assert (options["frontend_backend"], options["kmeans_feature_conf"]) == ("transformers", "")
    there = build_frontend(options["kmeans_feature"], backend=options["frontend_backend"])
    kmeans = KMeans.load(tmp_path / "there/km")
    assert there.describe() == kmeans.info["frontend"] and there.name == "mine_2"
    np.testing.assert_array_equal(kmeans.assign(there.extract(waves)[0]), expected)
