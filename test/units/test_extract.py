"""From a data directory of real recordings to asr2's files: units, reports, what is refused."""

import json

import numpy as np
import pytest

from espnet_sld.bin import extract_units, gather_units
from espnet_sld.corpus.audio import read_audio
from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.errors import InputError
from espnet_sld.stamps import Stamp
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.kmeans import KMeans
from espnet_sld.units.source import audio_digest, audio_tables
from espnet_sld.units.unit_text import MAX_UNITS, deduplicate, text_to_ids


def test_kmeans_files_and_record(stages, digits_dir, kmeans_dir):
    names = {f"km_{stages.K}.{ending}" for ending in ("safetensors", "json", "mdl", "done.json")}
    assert {path.name for path in kmeans_dir.iterdir()} == names
    info = KMeans.load(kmeans_dir).info
    assert info["frontend"] == build_frontend("mfcc").describe()
    assert (info["num_clusters"], info["dimension"]) == (stages.K, 39)
    assert (info["frames"], info["utterances"]) == (200, 12)
    assert info["frames_seen"] > 200 and info["inputs"] and info["inertia"] and info["seconds"] > 1
    assert (info["hours"], info["max_frames"]) == (0, 200) and "stream_inertia" not in info
    characters = (kmeans_dir.parent / "distinct_cjk_token_lists").read_text(encoding="utf-8").splitlines()
    assert len(characters) == MAX_UNITS


@pytest.mark.parametrize("num_shards", [1, 3, 15])
def test_units_are_those_of_each_utterance_alone_for_any_number_of_shards(
    stages, digits_dir, kmeans_dir, tmp_path, num_shards
):
    stages.extract(digits_dir, kmeans_dir, tmp_path / "ext", num_shards)
    stages.gather(digits_dir, tmp_path / "ext", tmp_path / "dump", num_shards)
    kmeans, front_end, data = KMeans.load(kmeans_dir), build_frontend("mfcc"), DataDir.read(digits_dir)
    lines = (tmp_path / "ext" / f"pseudo_labels_km{stages.K}.txt").read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == data.utterances
    for line in lines:
        utterance, *labels = line.split(" ")
        span = data.span(utterance)
        wave = read_audio(
            data.wav[span.recording], start=span.start, end=span.end, speed=data.speed(utterance)
        )
        assert list(map(int, labels)) == kmeans.assign(front_end.extract([wave])[0]).tolist()


def test_gathered_files_are_asr2s(stages, digits_dir, kmeans_dir, tmp_path):
    stages.extract(digits_dir, kmeans_dir, tmp_path / "ext", 2)
    lm_train = tmp_path / "lm_train.txt"
    stages.gather(digits_dir, tmp_path / "ext", tmp_path / "dump", 2, "--lm_train", str(lm_train))
    dump = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "dump").iterdir()}
    labels = (tmp_path / "ext" / f"pseudo_labels_km{stages.K}.txt").read_text().splitlines()
    ts, rm = (dump[f"text.{case}.mfcc_km{stages.K}"].splitlines() for case in ("ts", "rm"))
    for label_line, ts_line, rm_line in zip(labels, ts, rm, strict=True):
        utterance, *ids = label_line.split(" ")
        ids = list(map(int, ids))
        assert ts_line.split(" ")[0] == rm_line.split(" ")[0] == utterance
        assert text_to_ids(ts_line.split(" ")[1], stages.K).tolist() == ids
        assert text_to_ids(rm_line.split(" ")[1], stages.K).tolist() == deduplicate(ids)[0].tolist()
    assert dump["text.ts.en"] == (digits_dir / "text").read_text() == lm_train.read_text()
    assert dump["utt2spk"] == (digits_dir / "utt2spk").read_text()
    assert dump["feats_type"] == "raw\n"
    seconds = dict(line.split() for line in dump["utt2dur"].splitlines())
    assert float(seconds["utt10a"]) == 0.2


def test_sets_that_take_turns_leave_the_transcripts_of_the_last_for_the_lm(
    stages, digits_dir, kmeans_dir, tmp_path
):
    part = DataDir.read(digits_dir)
    part.select(part.utterances[:5]).write(tmp_path / "part")
    for turn in (digits_dir, tmp_path / "part", digits_dir):
        stages.extract(turn, kmeans_dir, tmp_path / f"{turn.name}_ext", 1)
        more = ("--lm_train", str(tmp_path / "lm_train.txt"))
        stages.gather(turn, tmp_path / f"{turn.name}_ext", tmp_path / f"{turn.name}_dump", 1, *more)
        assert (tmp_path / "lm_train.txt").read_text() == (turn / "text").read_text()


def test_report_counts_every_unit(stages, digits_dir, kmeans_dir, tmp_path):
    stages.extract(digits_dir, kmeans_dir, tmp_path, 1)
    stages.gather(digits_dir, tmp_path, tmp_path / "dump", 1)
    report = json.loads((tmp_path / "report.json").read_text())
    lines = (tmp_path / f"pseudo_labels_km{stages.K}.txt").read_text().splitlines()
    ids = [int(label) for line in lines for label in line.split(" ")[1:]]
    share = np.bincount(ids, minlength=stages.K) / len(ids)
    assert report["units_ts"] == len(ids) and report["utterances"] == 12
    assert report["entropy_bits_ts"] == pytest.approx(-sum(p * np.log2(p) for p in share if p), abs=1e-4)
    assert report["dead_clusters"] == [k for k in range(stages.K) if share[k] == 0]
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


def test_utterances_that_do_not_match_are_named(stages, digits_dir, kmeans_dir, tmp_path):
    stages.extract(digits_dir, kmeans_dir, tmp_path, 1)
    data = DataDir.read(digits_dir)
    data.select(data.utterances[1:]).write(tmp_path / "less")
    with pytest.raises(InputError, match="1 utterances not in the data directory: 7;"):
        stages.gather(tmp_path / "less", tmp_path, tmp_path / "dump", 1)
    assert not (tmp_path / "dump" / f"text.ts.mfcc_km{stages.K}").exists()


def test_a_device_that_is_none_is_told_before_audio_is_read(stages, digits_dir, kmeans_dir, tmp_path):
    with pytest.raises(InputError, match="no device 'gpu'"):
        stages.fit(digits_dir, tmp_path / "km", "--device", "gpu")
    files = f"--data_dir {digits_dir} --kmeans_dir {kmeans_dir} --out_dir {tmp_path}/ext"
    with pytest.raises(InputError, match="no device 'gpu'"):
        extract_units.main([*files.split(), "--device", "gpu"])
    assert not any(tmp_path.iterdir())


def test_another_front_end_than_kmeans_had_is_refused(digits_dir, kmeans_dir, tmp_path):
    with pytest.raises(InputError, match="give the same front-end options"):
        extract_units.main(
            f"--data_dir {digits_dir} --kmeans_dir {kmeans_dir} --out_dir {tmp_path} "
            "--frontend_conf frame_shift_ms=10".split()
        )


@pytest.mark.parametrize(
    ("end", "message"),
    [(0.02, r"too short for one frame of mfcc \(0.025 s\):\n  utterance bad"), (99.0, "bad")],
)
def test_utterance_that_gives_no_units_is_named_and_leaves_no_shard(
    stages, digits_dir, kmeans_dir, tmp_path, end, message
):
    data = DataDir.read(digits_dir)
    bad = DataDir({"rec": data.wav["rec01"]}, {"bad": "s"}, {"bad": "x"}, {"bad": Span("rec", 0.0, end)})
    bad.write(tmp_path / "bad")
    with pytest.raises(InputError, match=message):
        stages.extract(tmp_path / "bad", kmeans_dir, tmp_path, 1)
    assert not list((tmp_path / "shards").glob("*"))


def test_wrong_numbers_are_input_errors(stages, digits_dir, kmeans_dir, tmp_path):
    with pytest.raises(InputError, match="counted from 1"):
        stages.extract(digits_dir, kmeans_dir, tmp_path, 2, shards=[3])
    with pytest.raises(InputError, match="max_frames 5 must be at least the number of clusters"):
        stages.fit(digits_dir, tmp_path, "--max_frames", "5")
    with pytest.raises(InputError, match="clusters need at least as many frames"):
        stages.fit(digits_dir, tmp_path, "--num_clusters", "9000", "--max_frames", "all")
    with pytest.raises(InputError, match="does not end in _km"):
        gather_units.main(f"--data_dir {digits_dir} --out_dir x --dump_dir y --suffix mfcc".split())
