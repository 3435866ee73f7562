"""Patch k-means: what cutting and putting together promise, and a codebook that survives the disk."""

import json

import numpy as np
import pytest

from espnet_sld.bin import fit_image_quantiser
from espnet_sld.corpus.digit_images import load, write_png
from espnet_sld.corpus.image_set import ImageSet
from espnet_sld.errors import InputError
from espnet_sld.images.patches import PatchKMeans, cut
from espnet_sld.images.quantiser import load_quantiser
from espnet_sld.stamps import Stamp


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """200 real digits, float32 (200, 8, 8, 1)."""
    return load()[0][:200, :, :, None].astype(np.float32) / 255


@pytest.fixture(scope="module")
def quantiser(digits) -> PatchKMeans:
    return PatchKMeans.fit(digits, codebook_size=32, patch=2)


def test_cutting_goes_row_by_row():
    image = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    patches = cut(image, 2)
    assert patches.shape == (2, 6, 12)
    assert np.array_equal(patches[1, 4], image[1, 2:4, 2:4].ravel())


def test_tokens_are_the_nearest_codes_by_brute_force(digits, quantiser):
    tokens = quantiser.encode(digits[:20])
    patches = cut(digits[:20], 2).astype(np.float64)
    distances = ((patches[:, :, None] - quantiser.kmeans.centroids.astype(np.float64)) ** 2).sum(axis=-1)
    chosen = np.take_along_axis(distances, tokens[:, :, None], axis=2)[:, :, 0]
    assert tokens.shape == (20, 16) and tokens.dtype == np.int64
    assert np.allclose(chosen, distances.min(axis=2), atol=1e-6)


def test_an_image_made_of_codes_comes_back_unchanged(quantiser):
    tokens = np.random.default_rng(0).integers(0, 32, (5, 16))
    images = quantiser.decode(tokens)
    assert images.shape == (5, 8, 8, 1) and images.min() >= 0 and images.max() <= 1
    assert np.array_equal(quantiser.decode(quantiser.encode(images)), images)


def test_tokens_do_not_depend_on_the_batch(digits, quantiser):
    together = quantiser.encode(digits)
    alone = np.concatenate([quantiser.encode(digits[i : i + 1]) for i in range(0, 200, 13)])
    assert np.array_equal(together[::13], alone)
    assert quantiser.encode(digits[:0]).shape == (0, 16)


def test_more_codes_lose_less(digits, quantiser):
    def error(q: PatchKMeans) -> float:
        return float(((q.decode(q.encode(digits)) - digits) ** 2).mean())

    one = PatchKMeans.fit(digits, codebook_size=1, patch=2)
    assert error(quantiser) < 0.5 * error(PatchKMeans.fit(digits, codebook_size=4, patch=2)) < error(one)


def test_the_fit_depends_on_images_options_and_seed_only(digits, quantiser):
    again = PatchKMeans.fit(digits, codebook_size=32, patch=2)
    assert np.array_equal(again.kmeans.centroids, quantiser.kmeans.centroids)
    other = PatchKMeans.fit(digits, codebook_size=32, patch=2, seed=1)
    assert not np.array_equal(other.kmeans.centroids, quantiser.kmeans.centroids)
    few = PatchKMeans.fit(digits, codebook_size=8, patch=2, max_patches=500)
    assert few.info["patches"] == 500 and few.info["images"] == 200


def test_a_saved_quantiser_gives_the_same_tokens_and_damage_is_noticed(digits, quantiser, tmp_path):
    quantiser.save(tmp_path)
    loaded = load_quantiser(tmp_path)
    assert loaded.grid == (4, 4) and loaded.codebook_size == 32 and loaded.describe() == quantiser.describe()
    assert np.array_equal(loaded.encode(digits), quantiser.encode(digits))
    record = json.loads((tmp_path / "quantiser.json").read_text())
    (tmp_path / "quantiser.json").write_text(json.dumps({**record, "weights": "0"}))
    with pytest.raises(InputError, match="does not belong to"):
        load_quantiser(tmp_path)
    (tmp_path / "quantiser.json").write_text(json.dumps({**record, "image_shape": [8, 8]}))
    with pytest.raises(InputError, match="quantiser is damaged"):
        load_quantiser(tmp_path)
    (tmp_path / "quantiser.json").write_text(json.dumps({**record, "kind": "vqgan"}))
    with pytest.raises(InputError, match="kind must be one of patch_kmeans, dalle_dvae"):
        load_quantiser(tmp_path)
    with pytest.raises(InputError, match="fit a quantiser first"):
        load_quantiser(tmp_path / "nothing")


def test_wrong_images_and_tokens_are_refused(digits, quantiser):
    with pytest.raises(InputError, match=r"\(4, 8, 1\), the quantiser takes \(8, 8, 1\)"):
        quantiser.encode(digits[:, :4])
    with pytest.raises(InputError, match="token 32 is outside"):
        quantiser.decode(np.full((1, 16), 32))
    with pytest.raises(InputError, match="15 tokens, an image of this quantiser has 16"):
        quantiser.decode(np.zeros((1, 15), np.int64))
    with pytest.raises(InputError, match="--patch 3: must divide"):
        PatchKMeans.fit(digits, codebook_size=8, patch=3)
    with pytest.raises(InputError, match="no device 'gpu'"):
        PatchKMeans.fit(digits, codebook_size=8, patch=2, device="gpu")


def test_the_command_fits_once_and_again_when_an_image_changes(tmp_path, digits, caplog):
    caplog.set_level("INFO")
    files = {f"i{n}": str(tmp_path / f"{n}.png") for n in range(40)}
    for n, file in enumerate(files.values()):
        write_png(file, np.round(digits[n, :, :, 0] * 255).astype(np.uint8))
    ImageSet(files).write(tmp_path / "set")
    command = f"--images {tmp_path}/set --patch 4 --codebook_size 9 --out_dir {tmp_path}/q".split()
    assert fit_image_quantiser.main(command) == 0
    first = load_quantiser(tmp_path / "q")
    assert first.grid == (2, 2) and first.codebook_size == 9
    assert fit_image_quantiser.main(command) == 0 and "is up to date" in caplog.text
    write_png(files["i0"], np.full((8, 8), 99, np.uint8))
    assert fit_image_quantiser.main(command) == 0
    assert load_quantiser(tmp_path / "q").describe() != first.describe()
    with pytest.raises(InputError, match="--size 0, --max_images 9"):
        fit_image_quantiser.main([*command, "--size", "0", "--max_images", "9"])


def test_a_kill_between_codes_and_stamp_does_not_pass_them_off_as_the_earlier_ones(
    tmp_path, digits, monkeypatch
):
    files = {f"i{n}": str(tmp_path / f"{n}.png") for n in range(40)}
    for n, file in enumerate(files.values()):
        write_png(file, np.round(digits[n, :, :, 0] * 255).astype(np.uint8))
    ImageSet(files).write(tmp_path / "set")
    command = f"--images {tmp_path}/set --patch 4 --out_dir {tmp_path}/q --codebook_size".split()
    assert fit_image_quantiser.main([*command, "9"]) == 0
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Stamp, "write", interrupt)
        fit_image_quantiser.main([*command, "5"])
    assert fit_image_quantiser.main([*command, "9"]) == 0
    assert load_quantiser(tmp_path / "q").codebook_size == 9


def interrupt(*_args, **_options):
    raise KeyboardInterrupt
