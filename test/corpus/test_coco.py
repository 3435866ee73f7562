"""COCO's captions on a tiny copy of the genuine layout."""

import json
from pathlib import Path

import numpy as np
import pytest

from espnet_sld.bin import prepare_coco
from espnet_sld.corpus.coco import normalise, prepare
from espnet_sld.corpus.digit_images import write_png
from espnet_sld.corpus.image_set import read_images_scp
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.scoring.captions import read_captions

TRAIN = {9: ["A man's red hat.", "A hat , red!"], 25: ["Two dogs"], 30: ["A well-lit room."]}
VAL = {139: ["A woman in a kitchen.", "Someone cooks"], 285: ["A big bear"]}


def annotate(path: Path, images: dict[int, list[str]], prefix: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    numbered = [(key, text) for key, texts in images.items() for text in texts]
    record = {
        "info": {"year": 2017},
        "licenses": [],
        "images": [{"id": k, "file_name": f"{prefix}{k:012d}.jpg", "height": 4, "width": 4} for k in images],
        "annotations": [
            {"id": 100 + n, "image_id": key, "caption": text} for n, (key, text) in enumerate(numbered)
        ],
    }
    path.write_text(json.dumps(record))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    for part, images in (("train", TRAIN), ("val", VAL)):
        annotate(tmp_path / "annotations" / f"captions_{part}2017.json", images)
        (tmp_path / f"{part}2017").mkdir()
        for key in images:
            write_png(tmp_path / f"{part}2017" / f"{key:012d}.jpg", np.zeros((4, 4, 3), np.uint8))
    return tmp_path


def test_sets_are_image_sets_of_the_captions(coco):
    out = coco / "data"
    assert prepare_coco.main(f"--coco_dir {coco} --data_dir {out} --dev_images 1".split()) == 0
    train, dev = read_table(out / "coco_train" / "text"), read_table(out / "coco_dev" / "text")
    assert {key[:17] for key in train}.isdisjoint(dev) and len({key[:17] for key in train}) + len(dev) == 3
    assert read_captions(out / "coco_test" / "captions.tsv") == {
        "coco-000000000139": ["a woman in a kitchen", "someone cooks"],
        "coco-000000000285": ["a big bear"],
    }
    assert set(read_images_scp(out / "coco_test")) == {"coco-000000000139", "coco-000000000285"}
    pairs = {f"coco-{key:012d}-c{n}" for key, texts in TRAIN.items() for n in range(len(texts))}
    assert set(train) <= pairs


def test_captions_lose_case_and_punctuation_but_not_what_is_in_a_word():
    assert normalise("A man's well-lit  room, (really)!") == "a man's well-lit room really"


def test_karpathys_splits_put_restval_into_training(coco):
    images = [
        ("train2017", 9, "train"),
        ("train2017", 25, "restval"),
        ("val2017", 139, "val"),
        ("val2017", 285, "test"),
    ]
    record = [
        {"filepath": folder, "filename": f"{key:012d}.jpg", "cocoid": key, "split": split,
         "sentences": [{"raw": text} for text in {**TRAIN, **VAL}[key]]}
        for folder, key, split in images
    ]  # fmt: skip
    (coco / "dataset_coco.json").write_text(json.dumps({"images": record}))
    sets = prepare(coco, coco / "data", karpathy=coco / "dataset_coco.json")
    assert {name: len(found) for name, found in sets.items()} == {
        "coco_train": 3,
        "coco_dev": 1,
        "coco_test": 1,
    }


def test_an_image_without_caption_is_left_out_and_named(coco, caplog):
    annotate(coco / "annotations" / "captions_val2017.json", {139: [" ."], 285: ["A bear"]})
    assert len(prepare(coco, coco / "data", dev_images=1)["coco_test"]) == 1
    assert "left out 1 images without a caption: coco-000000000139" in caplog.text


def test_what_is_missing_is_named(coco):
    (coco / "val2017" / f"{139:012d}.jpg").unlink()
    with pytest.raises(InputError, match=r"1 images of the annotations are missing .*000000000139.jpg"):
        prepare(coco, coco / "data", dev_images=1)
    with pytest.raises(InputError, match="--dev_images 3: must leave some of the 3"):
        prepare(coco, coco / "data", dev_images=3)
    (coco / "annotations" / "captions_val2017.json").write_text('{"images": [{"id": 1}]}')
    with pytest.raises(InputError, match=r"not COCO's captions \(KeyError"):
        prepare(coco, coco / "data", dev_images=1)
    annotate(coco / "annotations" / "captions_val2017.json", {139: [None]})
    with pytest.raises(InputError, match=r"not COCO's captions \(AttributeError"):
        prepare(coco, coco / "data", dev_images=1)
    with pytest.raises(InputError, match=r"captions_train2014\.json: no such file"):
        prepare(coco, coco / "data", year="2014")
