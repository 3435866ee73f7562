"""Units a second time: what is finished and unchanged is kept, the rest redone, nothing stale gathered."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from espnet_sld.bin import extract_units
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.units.kmeans import KMeans


def test_fit_is_kept_while_nothing_changes(stages, digits_dir, kmeans_dir, tmp_path):
    before = (kmeans_dir / f"km_{stages.K}.safetensors").stat().st_mtime_ns
    stages.fit(digits_dir, kmeans_dir)
    assert (kmeans_dir / f"km_{stages.K}.safetensors").stat().st_mtime_ns == before
    stages.fit(digits_dir, tmp_path / "again")
    np.testing.assert_array_equal(
        KMeans.load(kmeans_dir).centroids, KMeans.load(tmp_path / "again").centroids
    )


def test_gathering_into_the_data_directory_leaves_the_shards_fresh(stages, digits_dir, kmeans_dir, tmp_path):
    # as the speed-perturbed training set, where the directory has no utt2dur at first
    folder, out = DataDir.read(digits_dir).write(tmp_path / "set"), tmp_path / "ext"
    stages.extract(folder, kmeans_dir, out, 2)
    stages.gather(folder, out, folder, 2)
    before = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    stages.extract(folder, kmeans_dir, out, 2)
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == before


def test_a_lost_shard_file_is_told_like_a_shard_that_is_not_done(stages, digits_dir, kmeans_dir, tmp_path):
    stages.extract(digits_dir, kmeans_dir, tmp_path, 2)
    stages.labels(tmp_path, 1, 2).unlink()
    with pytest.raises(InputError, match="1 of 2 shards are not done"):
        stages.gather(digits_dir, tmp_path, tmp_path / "dump", 2)


def test_only_the_missing_shard_is_redone(stages, digits_dir, kmeans_dir, tmp_path):
    stages.extract(digits_dir, kmeans_dir, tmp_path, 3)
    text = {i: stages.labels(tmp_path, i, 3) for i in (1, 2, 3)}
    content = {i: path.read_text() for i, path in text.items()}
    times = {i: path.stat().st_mtime_ns for i, path in text.items()}
    text[2].unlink()
    text[2].with_name(f".{text[2].name}.abc.tmp").write_text("left by kill -9")
    stages.extract(digits_dir, kmeans_dir, tmp_path, 3)
    assert {i for i in text if text[i].stat().st_mtime_ns != times[i]} == {2}
    assert {i: path.read_text() for i, path in text.items()} == content


def test_a_shard_without_its_stamp_is_refused_then_redone(stages, digits_dir, kmeans_dir, tmp_path):
    stages.extract(digits_dir, kmeans_dir, tmp_path, 2)
    stages.labels(tmp_path, 2, 2, "done.json").unlink()
    message = rf"1 of 2 shards are not done, first pseudo_labels_km{stages.K}.2of2"
    with pytest.raises(InputError, match=message):
        stages.gather(digits_dir, tmp_path, tmp_path / "dump", 2)
    stages.extract(digits_dir, kmeans_dir, tmp_path, 2)
    assert stages.gather(digits_dir, tmp_path, tmp_path / "dump", 2) == 0


def test_changed_centroids_redo_the_shards(stages, digits_dir, kmeans_dir, tmp_path):
    stages.extract(digits_dir, kmeans_dir, tmp_path / "ext", 2)
    old = KMeans.load(kmeans_dir)
    KMeans(old.centroids[::-1], old.info).save(tmp_path / "km")
    stages.extract(digits_dir, tmp_path / "km", tmp_path / "ext", 2, shards=[1])
    with pytest.raises(InputError, match="made with different centroids"):
        stages.gather(digits_dir, tmp_path / "ext", tmp_path / "dump", 2)
    before = stages.labels(tmp_path / "ext", 1, 2).read_text()
    stages.extract(digits_dir, kmeans_dir, tmp_path / "ext", 2)
    after = stages.labels(tmp_path / "ext", 1, 2).read_text()
    for one, other in zip(before.splitlines(), after.splitlines(), strict=True):
        assert [stages.K - 1 - int(label) for label in one.split()[1:]] == list(map(int, other.split()[1:]))


def test_where_speed_is_applied_is_part_of_what_made_the_units(stages, digits_dir, kmeans_dir, tmp_path):
    plain, device = tmp_path / "cpu", tmp_path / "device"
    stages.extract(digits_dir, kmeans_dir, plain, 1)
    options = f"--data_dir {digits_dir} --kmeans_dir {kmeans_dir} --speed_on device --num_shards".split()
    extract_units.main([*options, "1", "--out_dir", str(device)])
    stamps = [json.loads(stages.labels(out, 1, 1, "done.json").read_text()) for out in (plain, device)]
    assert stamps[0]["result"] == stamps[1]["result"]  # as many units, as long
    assert stamps[0]["options"]["speed"] == "soxr" != stamps[1]["options"]["speed"]
    texts = [stages.labels(out, 1, 1).read_text().splitlines() for out in (plain, device)]
    assert {a.split()[0] for a, b in zip(*texts, strict=True) if a != b} <= {"utt03"}
    stages.extract(digits_dir, kmeans_dir, tmp_path / "mixed", 2, shards=[1])
    extract_units.main([*options, "2", "--shard", "2", "--out_dir", str(tmp_path / "mixed")])
    with pytest.raises(InputError, match="made with different speed"):
        stages.gather(digits_dir, tmp_path / "mixed", tmp_path / "dump", 2)


def test_changed_audio_or_another_split_redoes_a_shard(stages, digits_dir, kmeans_dir, tmp_path):
    data = DataDir.read(digits_dir)
    data = data.select(["utt01", "utt02", "utt04"])
    copy = tmp_path / "audio.wav"
    copy.write_bytes(Path(data.wav["rec01"]).read_bytes())
    data = replace(data, wav={**data.wav, "rec01": str(copy)})
    data.write(tmp_path / "data")
    labels = stages.labels(tmp_path, 1, 2)
    stages.extract(tmp_path / "data", kmeans_dir, tmp_path, 2)
    first = labels.read_text()
    copy.write_bytes(Path(data.wav["rec02"]).read_bytes())
    stages.extract(tmp_path / "data", kmeans_dir, tmp_path, 2)
    second = labels.read_text()
    assert first != second
    replace(data, utt2dur={"utt01": 0.1, "utt02": 0.1, "utt04": 50.0}).write(tmp_path / "data")
    stages.extract(tmp_path / "data", kmeans_dir, tmp_path, 2)
    assert [line.split()[0] for line in labels.read_text().splitlines()] != [
        line.split()[0] for line in second.splitlines()
    ]
    assert stages.gather(tmp_path / "data", tmp_path, tmp_path / "dump", 2) == 0


def test_bad_audio_costs_nothing_that_was_finished(stages, digits_dir, kmeans_dir, tmp_path):
    """An audio file goes bad, the stages refuse, it comes back: fit and shards are still up to date."""
    data = DataDir.read(digits_dir)
    copy = tmp_path / "audio.wav"
    shutil.copy2(data.wav["rec01"], copy)
    data_dir = replace(data, wav={**data.wav, "rec01": str(copy)}).write(tmp_path / "data")
    stages.fit(data_dir, tmp_path / "kmeans")
    stages.extract(data_dir, tmp_path / "kmeans", tmp_path, 2)
    finished = sorted(tmp_path.glob("**/*.done.json"))
    before = {path: path.read_text() for path in [*finished, *tmp_path.glob("shards/*.txt")]}
    assert len(finished) == 3
    copy.rename(tmp_path / "whole.wav")
    copy.write_bytes((tmp_path / "whole.wav").read_bytes()[:-100])
    for command in (
        lambda: stages.fit(data_dir, tmp_path / "kmeans"),
        lambda: stages.extract(data_dir, tmp_path / "kmeans", tmp_path, 2),
    ):
        with pytest.raises(InputError, match=r"audio\.wav.*100 bytes are missing"):
            command()
    with pytest.raises(
        InputError, match=r"of2\.txt is of other audio than .*data has now; run stage 4 again"
    ):
        stages.gather(data_dir, tmp_path, tmp_path / "dump", 2)
    (tmp_path / "whole.wav").rename(copy)
    stages.fit(data_dir, tmp_path / "kmeans")
    stages.extract(data_dir, tmp_path / "kmeans", tmp_path, 2)
    assert {path: path.read_text() for path in before} == before
    assert stages.gather(data_dir, tmp_path, tmp_path / "dump", 2) == 0
