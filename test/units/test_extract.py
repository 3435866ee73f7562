"""From a data directory of real recordings to asr2's files: sharding, resuming, nothing lost silently."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from espnet_sld.bin import extract_units, fit_kmeans, gather_units
from espnet_sld.corpus.audio import read_audio
from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.errors import InputError
from espnet_sld.stamps import Stamp
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.kmeans import KMeans
from espnet_sld.units.source import audio_digest, audio_tables
from espnet_sld.units.unit_text import MAX_UNITS, deduplicate, text_to_ids

K = 16


@pytest.fixture(scope="module")
def data_dir(fsdd_dir, tmp_path_factory):
    """12 utterances; one has the id of a unit, two are segments of one recording, one is sped up."""
    paths = sorted((fsdd_dir / "recordings").glob("[0-5]_*_0.wav"))[:11]
    wav = {f"rec{i:02d}": str(path) for i, path in enumerate(paths)}
    spans = {f"utt{i:02d}": Span(f"rec{i:02d}") for i in range(1, 10)}
    spans |= {"7": Span("rec00"), "utt10a": Span("rec10", 0.0, 0.2), "utt10b": Span("rec10", 0.2, -1.0)}
    utterances = sorted(spans)
    data = DataDir(
        wav=wav,
        utt2spk=dict.fromkeys(utterances, "spk"),
        text={utterance: f"word{index}" for index, utterance in enumerate(utterances)},
        segments=spans,
        utt2speed={utterance: 1.1 if utterance == "utt03" else 1.0 for utterance in utterances},
    )
    return data.write(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def kmeans_dir(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("exp") / "kmeans" / f"mfcc_{K}clusters"
    assert fit_kmeans.main(fit_options(data_dir, out)) == 0
    return out


def fit_options(data_dir, out):
    return f"--data_dir {data_dir} --out_dir {out} --num_clusters {K} --max_frames 200".split()


def extract(data_dir, kmeans_dir, out, num_shards, shards=None):
    for shard in shards or range(1, num_shards + 1):
        extract_units.main(
            f"--data_dir {data_dir} --kmeans_dir {kmeans_dir} --out_dir {out} "
            f"--num_shards {num_shards} --shard {shard}".split()
        )


def gather(data_dir, out, dump, num_shards, *more):
    return gather_units.main(
        f"--data_dir {data_dir} --out_dir {out} --dump_dir {dump} --num_shards {num_shards} "
        f"--suffix mfcc_km{K}".split()
        + list(more)
    )


def test_kmeans_files_and_record(data_dir, kmeans_dir):
    names = {f"km_{K}.safetensors", f"km_{K}.json", f"km_{K}.mdl", f"km_{K}.done.json"}
    assert {path.name for path in kmeans_dir.iterdir()} == names
    info = KMeans.load(kmeans_dir).info
    assert info["frontend"] == build_frontend("mfcc").describe()
    assert (info["num_clusters"], info["dimension"], info["frames"], info["utterances"]) == (K, 39, 200, 12)
    assert info["frames_seen"] > 200 and info["inputs"] and info["inertia"] and info["seconds"] > 1
    assert (info["hours"], info["max_frames"]) == (0, 200) and "stream_inertia" not in info
    characters = (kmeans_dir.parent / "distinct_cjk_token_lists").read_text(encoding="utf-8").splitlines()
    assert len(characters) == MAX_UNITS


def test_fit_is_kept_while_nothing_changes(data_dir, kmeans_dir, tmp_path):
    before = (kmeans_dir / f"km_{K}.safetensors").stat().st_mtime_ns
    fit_kmeans.main(fit_options(data_dir, kmeans_dir))
    assert (kmeans_dir / f"km_{K}.safetensors").stat().st_mtime_ns == before
    fit_kmeans.main(fit_options(data_dir, tmp_path / "again"))
    np.testing.assert_array_equal(
        KMeans.load(kmeans_dir).centroids, KMeans.load(tmp_path / "again").centroids
    )


@pytest.mark.parametrize("num_shards", [1, 3, 15])
def test_units_are_those_of_each_utterance_alone_for_any_number_of_shards(
    data_dir, kmeans_dir, tmp_path, num_shards
):
    extract(data_dir, kmeans_dir, tmp_path / "ext", num_shards)
    gather(data_dir, tmp_path / "ext", tmp_path / "dump", num_shards)
    kmeans, front_end, data = KMeans.load(kmeans_dir), build_frontend("mfcc"), DataDir.read(data_dir)
    lines = (tmp_path / "ext" / f"pseudo_labels_km{K}.txt").read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == data.utterances
    for line in lines:
        utterance, *labels = line.split(" ")
        span = data.span(utterance)
        wave = read_audio(
            data.wav[span.recording], start=span.start, end=span.end, speed=data.speed(utterance)
        )
        assert list(map(int, labels)) == kmeans.assign(front_end.extract([wave])[0]).tolist()


def test_gathered_files_are_asr2s(data_dir, kmeans_dir, tmp_path):
    extract(data_dir, kmeans_dir, tmp_path / "ext", 2)
    gather(data_dir, tmp_path / "ext", tmp_path / "dump", 2, "--lm_train", str(tmp_path / "lm_train.txt"))
    dump = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "dump").iterdir()}
    labels = (tmp_path / "ext" / f"pseudo_labels_km{K}.txt").read_text().splitlines()
    ts, rm = (dump[f"text.{case}.mfcc_km{K}"].splitlines() for case in ("ts", "rm"))
    for label_line, ts_line, rm_line in zip(labels, ts, rm, strict=True):
        utterance, *ids = label_line.split(" ")
        ids = list(map(int, ids))
        assert ts_line.split(" ")[0] == rm_line.split(" ")[0] == utterance
        assert text_to_ids(ts_line.split(" ")[1], K).tolist() == ids
        assert text_to_ids(rm_line.split(" ")[1], K).tolist() == deduplicate(ids)[0].tolist()
    assert dump["text.ts.en"] == (data_dir / "text").read_text() == (tmp_path / "lm_train.txt").read_text()
    assert dump["utt2spk"] == (data_dir / "utt2spk").read_text()
    assert dump["feats_type"] == "raw\n"
    seconds = dict(line.split() for line in dump["utt2dur"].splitlines())
    assert float(seconds["utt10a"]) == 0.2


def test_gathering_into_the_data_directory_leaves_the_shards_fresh(data_dir, kmeans_dir, tmp_path):
    # as the speed-perturbed training set, where the directory has no utt2dur at first
    folder, out = DataDir.read(data_dir).write(tmp_path / "set"), tmp_path / "ext"
    extract(folder, kmeans_dir, out, 2)
    gather(folder, out, folder, 2)
    before = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    extract(folder, kmeans_dir, out, 2)
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == before


def test_a_lost_shard_file_is_told_like_a_shard_that_is_not_done(data_dir, kmeans_dir, tmp_path):
    extract(data_dir, kmeans_dir, tmp_path, 2)
    (tmp_path / "shards" / f"pseudo_labels_km{K}.1of2.txt").unlink()
    with pytest.raises(InputError, match="1 of 2 shards are not done"):
        gather(data_dir, tmp_path, tmp_path / "dump", 2)


def test_report_counts_every_unit(data_dir, kmeans_dir, tmp_path):
    extract(data_dir, kmeans_dir, tmp_path, 1)
    gather(data_dir, tmp_path, tmp_path / "dump", 1)
    report = json.loads((tmp_path / "report.json").read_text())
    lines = (tmp_path / f"pseudo_labels_km{K}.txt").read_text().splitlines()
    ids = [int(label) for line in lines for label in line.split(" ")[1:]]
    share = np.bincount(ids, minlength=K) / len(ids)
    assert report["units_ts"] == len(ids) and report["utterances"] == 12
    assert report["entropy_bits_ts"] == pytest.approx(-sum(p * np.log2(p) for p in share if p), abs=1e-4)
    assert report["dead_clusters"] == [k for k in range(K) if share[k] == 0]
    assert report["units_rm"] < report["units_ts"]
    assert 40 < report["units_per_second_ts"] < 50  # a little under 50: frames at the edges


def test_utterance_whose_id_is_its_first_label_keeps_it(tmp_path):
    data = DataDir(
        wav={"17": "a.wav", "5": "b.wav"},
        utt2spk={"17": "s", "5": "s"},
        text={"17": "seventeen", "5": "five"},
    )
    data.write(tmp_path / "data")
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "pseudo_labels_km20.1of1.txt").write_text("17 17 17 5\n5 5 5\n")
    (shards / "utt2dur_km20.1of1.txt").write_text("17 0.06\n5 0.04\n")
    made = {"frontend": 0, "centroids": 0, "channels": 0, "audio": audio_digest(data)}
    stamp = shards / "pseudo_labels_km20.1of1.done.json"
    Stamp(stamp, inputs=audio_tables(tmp_path / "data"), options=made).write()
    gather_units.main(
        f"--data_dir {tmp_path}/data --out_dir {tmp_path} --dump_dir {tmp_path}/dump "
        "--suffix mfcc_km20".split()
    )
    rm = (tmp_path / "dump" / "text.rm.mfcc_km20").read_text(encoding="utf-8")
    assert rm == f"17 {chr(0x4E00 + 17)}{chr(0x4E05)}\n5 {chr(0x4E05)}\n"


def test_only_the_missing_shard_is_redone(data_dir, kmeans_dir, tmp_path):
    extract(data_dir, kmeans_dir, tmp_path, 3)
    shards = tmp_path / "shards"
    text = {i: (shards / f"pseudo_labels_km{K}.{i}of3.txt") for i in (1, 2, 3)}
    content = {i: path.read_text() for i, path in text.items()}
    times = {i: path.stat().st_mtime_ns for i, path in text.items()}
    text[2].unlink()
    (shards / f".pseudo_labels_km{K}.2of3.txt.abc.tmp").write_text("left by kill -9")
    extract(data_dir, kmeans_dir, tmp_path, 3)
    assert {i for i in text if text[i].stat().st_mtime_ns != times[i]} == {2}
    assert {i: path.read_text() for i, path in text.items()} == content


def test_a_shard_without_its_stamp_is_refused_then_redone(data_dir, kmeans_dir, tmp_path):
    extract(data_dir, kmeans_dir, tmp_path, 2)
    (tmp_path / "shards" / f"pseudo_labels_km{K}.2of2.done.json").unlink()
    with pytest.raises(InputError, match=rf"1 of 2 shards are not done, first pseudo_labels_km{K}.2of2"):
        gather(data_dir, tmp_path, tmp_path / "dump", 2)
    extract(data_dir, kmeans_dir, tmp_path, 2)
    assert gather(data_dir, tmp_path, tmp_path / "dump", 2) == 0


def test_changed_centroids_redo_the_shards(data_dir, kmeans_dir, tmp_path):
    extract(data_dir, kmeans_dir, tmp_path / "ext", 2)
    old = KMeans.load(kmeans_dir)
    KMeans(old.centroids[::-1], old.info).save(tmp_path / "km")
    extract(data_dir, tmp_path / "km", tmp_path / "ext", 2, shards=[1])
    with pytest.raises(InputError, match="made with different centroids"):
        gather(data_dir, tmp_path / "ext", tmp_path / "dump", 2)
    before = (tmp_path / "ext" / "shards" / f"pseudo_labels_km{K}.1of2.txt").read_text()
    extract(data_dir, kmeans_dir, tmp_path / "ext", 2)
    after = (tmp_path / "ext" / "shards" / f"pseudo_labels_km{K}.1of2.txt").read_text()
    for one, other in zip(before.splitlines(), after.splitlines(), strict=True):
        assert [K - 1 - int(label) for label in one.split()[1:]] == list(map(int, other.split()[1:]))


def test_where_speed_is_applied_is_part_of_what_made_the_units(data_dir, kmeans_dir, tmp_path):
    plain, device = tmp_path / "cpu", tmp_path / "device"
    extract(data_dir, kmeans_dir, plain, 1)
    options = f"--data_dir {data_dir} --kmeans_dir {kmeans_dir} --speed_on device --num_shards".split()
    extract_units.main([*options, "1", "--out_dir", str(device)])
    stamps = [
        json.loads((out / f"shards/pseudo_labels_km{K}.1of1.done.json").read_text())
        for out in (plain, device)
    ]
    assert stamps[0]["result"] == stamps[1]["result"]  # as many units, as long
    assert stamps[0]["options"]["speed"] == "soxr" != stamps[1]["options"]["speed"]
    texts = [
        (out / f"shards/pseudo_labels_km{K}.1of1.txt").read_text().splitlines() for out in (plain, device)
    ]
    assert {a.split()[0] for a, b in zip(*texts, strict=True) if a != b} <= {"utt03"}
    extract(data_dir, kmeans_dir, tmp_path / "mixed", 2, shards=[1])
    extract_units.main([*options, "2", "--shard", "2", "--out_dir", str(tmp_path / "mixed")])
    with pytest.raises(InputError, match="made with different speed"):
        gather(data_dir, tmp_path / "mixed", tmp_path / "dump", 2)


def test_changed_audio_or_another_split_redoes_a_shard(data_dir, kmeans_dir, tmp_path):
    data = DataDir.read(data_dir)
    data = data.select(["utt01", "utt02", "utt04"])
    copy = tmp_path / "audio.wav"
    copy.write_bytes(Path(data.wav["rec01"]).read_bytes())
    data = replace(data, wav={**data.wav, "rec01": str(copy)})
    data.write(tmp_path / "data")
    labels = tmp_path / "shards" / f"pseudo_labels_km{K}.1of2.txt"
    extract(tmp_path / "data", kmeans_dir, tmp_path, 2)
    first = labels.read_text()
    copy.write_bytes(Path(data.wav["rec02"]).read_bytes())
    extract(tmp_path / "data", kmeans_dir, tmp_path, 2)
    second = labels.read_text()
    assert first != second
    replace(data, utt2dur={"utt01": 0.1, "utt02": 0.1, "utt04": 50.0}).write(tmp_path / "data")
    extract(tmp_path / "data", kmeans_dir, tmp_path, 2)
    assert [line.split()[0] for line in labels.read_text().splitlines()] != [
        line.split()[0] for line in second.splitlines()
    ]
    assert gather(tmp_path / "data", tmp_path, tmp_path / "dump", 2) == 0


def test_bad_audio_costs_nothing_that_was_finished(data_dir, kmeans_dir, tmp_path):
    """An audio file goes bad, the stages refuse, it comes back: fit and shards are still up to date."""
    data = DataDir.read(data_dir)
    copy = tmp_path / "audio.wav"
    shutil.copy2(data.wav["rec01"], copy)
    data_dir = replace(data, wav={**data.wav, "rec01": str(copy)}).write(tmp_path / "data")
    fit_kmeans.main(fit_options(data_dir, tmp_path / "kmeans"))
    extract(data_dir, tmp_path / "kmeans", tmp_path, 2)
    finished = sorted(tmp_path.glob("**/*.done.json"))
    before = {path: path.read_text() for path in [*finished, *tmp_path.glob("shards/*.txt")]}
    assert len(finished) == 3
    copy.rename(tmp_path / "whole.wav")
    copy.write_bytes((tmp_path / "whole.wav").read_bytes()[:-100])
    for command in (
        lambda: fit_kmeans.main(fit_options(data_dir, tmp_path / "kmeans")),
        lambda: extract(data_dir, tmp_path / "kmeans", tmp_path, 2),
    ):
        with pytest.raises(InputError, match=r"audio\.wav.*100 bytes are missing"):
            command()
    with pytest.raises(
        InputError, match=r"of2\.txt is of other audio than .*data has now; run stage 4 again"
    ):
        gather(data_dir, tmp_path, tmp_path / "dump", 2)
    (tmp_path / "whole.wav").rename(copy)
    fit_kmeans.main(fit_options(data_dir, tmp_path / "kmeans"))
    extract(data_dir, tmp_path / "kmeans", tmp_path, 2)
    assert {path: path.read_text() for path in before} == before
    assert gather(data_dir, tmp_path, tmp_path / "dump", 2) == 0


def test_utterances_that_do_not_match_are_named(data_dir, kmeans_dir, tmp_path):
    extract(data_dir, kmeans_dir, tmp_path, 1)
    data = DataDir.read(data_dir)
    data.select(data.utterances[1:]).write(tmp_path / "less")
    with pytest.raises(InputError, match="1 utterances not in the data directory: 7;"):
        gather(tmp_path / "less", tmp_path, tmp_path / "dump", 1)
    assert not (tmp_path / "dump" / f"text.ts.mfcc_km{K}").exists()


def test_another_front_end_than_kmeans_had_is_refused(data_dir, kmeans_dir, tmp_path):
    with pytest.raises(InputError, match="give the same front-end options"):
        extract_units.main(
            f"--data_dir {data_dir} --kmeans_dir {kmeans_dir} --out_dir {tmp_path} "
            "--frontend_conf frame_shift_ms=10".split()
        )


@pytest.mark.parametrize(
    ("end", "message"),
    [(0.02, r"too short for one frame of mfcc \(0.025 s\):\n  utterance bad"), (99.0, "bad")],
)
def test_utterance_that_gives_no_units_is_named_and_leaves_no_shard(
    data_dir, kmeans_dir, tmp_path, end, message
):
    data = DataDir.read(data_dir)
    bad = DataDir({"rec": data.wav["rec01"]}, {"bad": "s"}, {"bad": "x"}, {"bad": Span("rec", 0.0, end)})
    bad.write(tmp_path / "bad")
    with pytest.raises(InputError, match=message):
        extract(tmp_path / "bad", kmeans_dir, tmp_path, 1)
    assert not list((tmp_path / "shards").glob("*"))


def test_wrong_numbers_are_input_errors(data_dir, kmeans_dir, tmp_path):
    with pytest.raises(InputError, match="counted from 1"):
        extract(data_dir, kmeans_dir, tmp_path, 2, shards=[3])
    with pytest.raises(InputError, match="max_frames 5 must be at least the number of clusters"):
        fit_kmeans.main([*fit_options(data_dir, tmp_path), "--max_frames", "5"])
    with pytest.raises(InputError, match="clusters need at least as many frames"):
        fit_kmeans.main([*fit_options(data_dir, tmp_path), "--num_clusters", "9000", "--max_frames", "all"])
    with pytest.raises(InputError, match="does not end in _km"):
        gather_units.main(f"--data_dir {data_dir} --out_dir x --dump_dir y --suffix mfcc".split())
