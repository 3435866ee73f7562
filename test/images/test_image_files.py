"""Image files and token files: what is read is what was stored, and shards join to the whole."""

import numpy as np
import pytest
from PIL import Image

from espnet_sld.bin import quantise_images, reconstruct_images
from espnet_sld.corpus.digit_images import load, write_png
from espnet_sld.corpus.image_set import ImageSet
from espnet_sld.errors import InputError
from espnet_sld.images.patches import PatchKMeans
from espnet_sld.images.read import read_image
from espnet_sld.images.tokens import gather, quantise, read_tokens


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Ten real digits, two ids each, and a quantiser fitted on them."""
    folder = tmp_path_factory.mktemp("world")
    pixels = load()[0][:10]
    images = {}
    for n, image in enumerate(pixels):
        write_png(folder / f"{n}.png", image)
        images |= {f"i{n}-c{c}": str(folder / f"{n}.png") for c in (0, 1)}
    ImageSet(images).write(folder / "set")
    PatchKMeans.fit(pixels[..., None].astype(np.float32) / 255, codebook_size=16, patch=2).save(folder / "q")
    return folder


def test_every_format_gives_the_stored_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    Image.fromarray(pixels).save(tmp_path / "a.pgm")
    np.save(tmp_path / "a.npy", pixels)
    np.save(tmp_path / "float.npy", pixels / 255)
    for name in ("a.png", "a.pgm", "a.npy", "float.npy"):
        found = read_image(tmp_path / name)
        assert found.shape == (5, 7, 1) and found.dtype == np.float32
        assert np.array_equal(np.round(found[:, :, 0] * 255), pixels)
    assert np.array_equal(read_image(tmp_path / "a.png", (5, 7, 3))[:, :, 2], found[:, :, 0])


def test_16_bits_are_scaled_and_32_refused(tmp_path):
    pixels = np.arange(0, 65536, 2048, dtype=np.uint16).reshape(4, 8)
    (tmp_path / "a.pgm").write_bytes(b"P5\n8 4\n65535\n" + pixels.astype(">u2").tobytes())
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for name in ("a.pgm", "a.png"):
        found = read_image(tmp_path / name)
        assert found.shape == (4, 8, 1) and np.array_equal(np.round(found[:, :, 0] * 255), pixels >> 8)
    Image.fromarray(pixels.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: .*32 bits"):
        read_image(tmp_path / "a.tif", (4, 8, 1))


def test_another_size_is_scaled_to_cover_and_cut_around_the_middle(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = (255, 128, 0)
    write_png(tmp_path / "wide.png", pixels)
    found = read_image(tmp_path / "wide.png", (10, 10, 3))
    assert np.allclose(found[5, 5], [1, 128 / 255, 0], atol=1e-6)
    assert read_image(tmp_path / "wide.png", (4, 6, 1)).shape == (4, 6, 1)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    np.save(tmp_path / "b.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "c.npy", np.full((2, 2), 7.0))
    for name in ("a.png", "b.npy", "c.npy"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as an image"):
            read_image(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "none.png")


def test_the_token_file_has_a_line_for_every_id(world, tmp_path):
    command = f"--images {world}/set --quantiser {world}/q --out {tmp_path}/tokens --batch 3"
    assert quantise_images.main(command.split()) == 0
    tokens = read_tokens(tmp_path / "tokens")
    quantiser = PatchKMeans.load(world / "q")
    assert list(tokens) == sorted(f"i{n}-c{c}" for n in range(10) for c in (0, 1))
    expected = quantiser.encode(np.stack([read_image(world / f"{n}.png") for n in range(10)]))
    for n in range(10):
        assert np.array_equal(tokens[f"i{n}-c0"], expected[n])
        assert np.array_equal(tokens[f"i{n}-c1"], expected[n])


def test_shards_join_to_the_same_file_and_a_missing_one_is_named(world, tmp_path):
    quantiser = PatchKMeans.load(world / "q")
    quantise(world / "set", tmp_path / "whole", quantiser)
    for shard in (1, 3):
        quantise(world / "set", tmp_path / "tokens", quantiser, shard=shard, num_shards=3)
    with pytest.raises(InputError, match=r"tokens.2of3: is not done; run shard 2 of 3"):
        gather(tmp_path / "tokens", 3)
    quantise(world / "set", tmp_path / "tokens", quantiser, shard=2, num_shards=3)
    assert gather(tmp_path / "tokens", 3) == 20
    for wrong in (lambda: gather(tmp_path / "tokens", 0), lambda: quantise(world, "x", quantiser, batch=0)):
        with pytest.raises(InputError, match="0: at least 1"):
            wrong()
    assert (tmp_path / "tokens").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_finished_token_file_is_kept_until_an_image_changes(world, tmp_path):
    quantiser = PatchKMeans.load(world / "q")
    write_png(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "images.scp").write_text(f"a {tmp_path}/a.png\n")
    quantise(tmp_path, tmp_path / "tokens", quantiser)
    first, stamp = (tmp_path / "tokens").read_text(), (tmp_path / "tokens").stat().st_mtime_ns
    quantise(tmp_path, tmp_path / "tokens", quantiser)
    assert (tmp_path / "tokens").stat().st_mtime_ns == stamp
    write_png(tmp_path / "a.png", np.full((8, 8), 255, np.uint8))
    quantise(tmp_path, tmp_path / "tokens", quantiser)
    assert (tmp_path / "tokens").read_text() != first


def test_the_picture_shows_originals_above_what_tokens_keep(world, tmp_path, capsys):
    quantise(world / "set", tmp_path / "tokens", PatchKMeans.load(world / "q"))
    command = (
        f"--tokens {tmp_path}/tokens --quantiser {world}/q --images {world}/set --ids i0-c0 i3-c1 --scale 2"
    )
    assert reconstruct_images.main([*command.split(), "--out", str(tmp_path / "x.png")]) == 0
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (2 * 2 * 9, 2 * 2 * 9)
        shown = np.asarray(picture)[::2, ::2]
    with Image.open(world / "3.png") as picture:
        assert np.array_equal(shown[:8, 9:17], np.asarray(picture))
    assert "mean squared error" in capsys.readouterr().out
    with pytest.raises(InputError, match="has no tokens of i99"):
        reconstruct_images.main([*command.replace("i3-c1", "i99").split(), "--out", "x.png"])
