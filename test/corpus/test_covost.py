"""CoVoST 2 on a tiny corpus of the genuine layout: Common Voice's tables and clips, CoVoST's table."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.bin import prepare_covost
from espnet_sld.corpus.covost import prepare
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.files import read_table

HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
CLIENTS = {"a": "a" * 128, "b": "b" * 128}
ROWS = [  # clip, client, sentence, translation, split
    (
        "common_voice_en_1.mp3",
        "a",
        'He said "Yes, don\'t", twice.',
        "Er sagte zweimal: „Ja, nicht“.",
        "train",
    ),
    ("common_voice_en_2.mp3", "b", "A well-known road.", "Eine bekannte Straße.", "train_covost"),
    ("common_voice_en_3.mp3", "a", "Where is it?", "Wo ist es?", "dev"),
    ("common_voice_en_4.mp3", "b", "Over there.", "Dort drüben.", "test"),
    ("common_voice_en_5.mp3", "b", "Untranslated.", "", "test"),
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    clips = tmp_path / "en" / "clips"
    clips.mkdir(parents=True)
    lines = [HEADER]
    for clip, client, sentence, _, _ in ROWS:
        soundfile.write(clips / clip, 0.1 * np.sin(np.arange(9600) / 20), 32000, format="MP3")
        lines.append(f"{CLIENTS[client]}\t{clip}\t{sentence}\t2\t0\t\t\t")
    lines.append(f"{CLIENTS['a']}\tcommon_voice_en_9.mp3\tNot in CoVoST.\t2\t0\t\t\t")
    (tmp_path / "en" / "validated.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = ["path\ttranslation\tsplit"]
    table += [f"{clip}\t{translation}\t{split}" for clip, _, _, translation, split in ROWS]
    table.append("common_voice_en_8.mp3\tNicht bestätigt.\tdev")
    (tmp_path / "covost_v2.en_de.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")
    return tmp_path


def run(corpus: Path, **kwargs):
    return prepare(corpus / "en", corpus, corpus / "data", "en", "de", **kwargs)


def test_sets_are_valid_data_directories_with_transcripts_and_translations(corpus):
    arguments = f"--common_voice_dir {corpus}/en --covost_dir {corpus} --source_lang en --target_lang de"
    assert prepare_covost.main([*arguments.split(), "--data_dir", str(corpus / "data")]) == 0
    train = corpus / "data" / "covost_en_de_train"
    data = DataDir.read(train, check_files=True)
    one, two = f"{'a' * 16}-common_voice_en_1", f"{'b' * 16}-common_voice_en_2"
    assert data.text == {one: "he said yes don't twice", two: "a well-known road"}
    assert read_table(train / "text.de") == {one: ROWS[0][3], two: ROWS[1][3]}
    assert data.utt2spk == {one: "a" * 16, two: "b" * 16}
    assert soundfile.info(data.wav[one]).samplerate == 32000


def test_rows_that_cannot_be_used_are_listed_with_the_reason(corpus):
    sets = run(corpus)
    assert sets["covost_en_de_dev"].dropped == [("common_voice_en_8.mp3", "not in validated.tsv")]
    listed = (corpus / "data" / "covost_en_de_test" / "dropped.tsv").read_text()
    assert listed == "common_voice_en_5.mp3\tempty translation\n"
    assert len(sets["covost_en_de_test"].data) == 1
    assert not (corpus / "data" / "covost_en_de_train" / "dropped.tsv").exists()


def test_case_and_punctuation_are_options_of_each_side(corpus):
    sets = run(corpus, lower=(False, True), punctuation=(True, False))
    train = sets["covost_en_de_train"]
    assert train.data.text[f"{'a' * 16}-common_voice_en_1"] == ROWS[0][2]
    assert train.translation[f"{'a' * 16}-common_voice_en_1"] == "er sagte zweimal ja nicht"


def test_a_missing_clip_is_an_error_unless_it_may_be_left_out(corpus):
    (corpus / "en" / "clips" / ROWS[1][0]).unlink()
    with pytest.raises(
        InputError, match=r"1 of 6 clips are missing \(common_voice_en_2.mp3 …\);.*--skip_missing"
    ):
        run(corpus)
    sets = run(corpus, skip_missing=True)
    assert sets["covost_en_de_train"].dropped == [(ROWS[1][0], "no clip")]


def test_broken_tables_are_named(corpus):
    table = corpus / "covost_v2.en_de.tsv"
    good = table.read_text(encoding="utf-8")
    table.write_text(good.replace("\tsplit", "\tpart"), encoding="utf-8")
    with pytest.raises(InputError, match=r"covost_v2.en_de.tsv: has no column split"):
        run(corpus)
    table.write_text(good + "common_voice_en_4.mp3\tzweimal\ttest\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"common_voice_en_4\.mp3 occurs twice"):
        run(corpus)
    table.write_text(good + "common_voice_en_7.mp3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"tsv:8: another number of fields"):
        run(corpus)
    table.write_text(good + f"common_voice_en_7.mp3\t{'x' * 200_000}\ttest\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"tsv:\d+: field larger than"):
        run(corpus)
    table.unlink()
    with pytest.raises(InputError, match="no such file"):
        run(corpus)
