"""The embedded images: fixed sets, exact pixels, captions that name the digit."""

import numpy as np
import pytest

from espnet_sld.bin import prepare_digit_images
from espnet_sld.corpus.digit_images import SHIFTS, SPLIT, captions_of, load, prepare, shifted, write_png
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.image_set import ImageSet, read_images_scp
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.scoring.captions import read_captions


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    assert prepare_digit_images.main(["--data_dir", str(folder)]) == 0
    return folder


def test_the_sets_are_all_images_once_and_do_not_overlap(sets):
    files = {name: set(read_images_scp(sets / name).values()) for name in SPLIT}
    assert {name: len(found) for name, found in files.items()} == {
        "train_digits": 1197,
        "dev_digits": 200,
        "test_digits": 400,
    }
    indices = sorted(int(file.rsplit("-", 1)[1][:4]) for found in files.values() for file in found)
    assert indices == list(range(1797))


def test_every_digit_is_in_every_set(sets):
    for name in SPLIT:
        assert set(read_table(sets / name / "labels").values()) == set(DIGITS)


def test_a_caption_names_its_images_digit_and_no_other(sets):
    _, digits = load()
    for name in SPLIT:
        labels, texts = read_table(sets / name / "labels"), read_table(sets / name / "text")
        for key, text in texts.items():
            word = DIGITS[digits[int(key[6:10])]]
            assert labels[key] == word
            assert {word} == set(DIGITS) & set(text.split())


def test_training_pairs_each_image_with_all_captions_tests_have_them_as_references(sets):
    texts = read_table(sets / "train_digits" / "text")
    assert len(texts) == 5 * 1197
    seven = next(key for key, word in read_table(sets / "train_digits" / "labels").items() if word == "seven")
    assert [texts[f"{seven[:10]}-c{n}"] for n in range(5)] == captions_of(7)
    references = read_captions(sets / "test_digits" / "captions.tsv")
    assert len(references) == 400 and all(len(set(found)) == 5 for found in references.values())
    first = read_table(sets / "test_digits" / "text")
    assert all(first[key] in found for key, found in references.items())


def test_captions_use_the_right_article():
    assert "an eight written by hand" in captions_of(8) and "a one written by hand" not in captions_of(8)
    assert "someone wrote a seven" in captions_of(7)


def test_files_hold_the_pixels_that_scikit_learn_has(sets):
    from PIL import Image
    from sklearn.datasets import load_digits

    original = load_digits().images
    for name, index in (("train_digits", 5), ("test_digits", 1796)):
        with Image.open(sets / "images" / name / f"digit-{index:04d}.png") as picture:
            pixels = np.asarray(picture, dtype=np.float64)
            assert np.array_equal(np.round(pixels * 16 / 255), original[index])


def test_a_shift_moves_every_pixel_and_fills_with_background():
    image = np.arange(1, 10, dtype=np.uint8).reshape(3, 3)
    assert shifted(image, 0, 1).tolist() == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]
    assert shifted(image, -1, 0).tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    assert all(shifted(image, *shift).shape == (3, 3) for shift in SHIFTS)


def test_shifts_add_training_images_only_and_again_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "espnet_sld.corpus.digit_images.SPLIT",
        {"train_digits": (0, 3), "dev_digits": (3, 5), "test_digits": (5, 7)},
    )
    found = prepare(tmp_path, shifts=True)
    assert [len(set(s.images.values())) for s in found.values()] == [15, 2, 2]
    assert len(found["train_digits"]) == 75
    file = next(iter(found["train_digits"].images.values()))
    before = (tmp_path / file).stat().st_mtime_ns
    prepare(tmp_path, shifts=True)
    assert (tmp_path / file).stat().st_mtime_ns == before
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_image_set_refuses_tables_of_other_ids_and_captions_with_tabs(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"text and images.scp differ in 1 ids \(b"):
        ImageSet({"a": str(tmp_path / "a.png")}, text={"a": "one", "b": "two"}).write(tmp_path / "set")
    with pytest.raises(InputError, match="blanks other than single spaces"):
        ImageSet({"a": "a.png"}, captions={"a": ["one\ttwo"]}).write(tmp_path / "set")
    (tmp_path / "images.scp").write_text(f"a {tmp_path}/a.png\nb {tmp_path}/b.png\n")
    with pytest.raises(InputError, match=r"1 image files are missing .*b\.png"):
        read_images_scp(tmp_path)
