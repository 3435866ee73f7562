"""report.html of models with several tasks: each decoding by its own figures and files."""

import io
import json
import re
import shutil
import zlib

import numpy as np
import pytest
import soundfile

from espnet_sld.bin import report
from espnet_sld.files import read_table
from espnet_sld.scoring.report.build import write_experiment_report, write_recipe_report
from espnet_sld.scoring.report.experiment import read_experiment
from espnet_sld.scoring.report.media import Limits
from espnet_sld.scoring.report.mel_picture import RANGE, filters, mel_decibels, png, to_mel
from espnet_sld.scoring.report.results_section import wilson
from espnet_sld.scoring.report.setup_section import options_set


@pytest.fixture(scope="module")
def dmlm(small_tasks, fsdd_dir, tmp_path_factory):
    return small_tasks.make_dmlm(tmp_path_factory.mktemp("dmlm"), fsdd_dir)


@pytest.fixture(scope="module")
def page(dmlm, pages):
    return pages.write(dmlm / "exp" / "dmlm_a")


def test_options_are_compared_with_the_defaults_of_their_own_task(dmlm):
    options = options_set(read_experiment(dmlm / "exp" / "dmlm_a").config)
    assert options["criterion_conf.lambda_text"] == 0.9 and "mixture_tasks" not in options


def test_every_task_has_the_figures_of_its_results(page, dmlm, pages):
    results = pages.section(page, "errors")
    titles = re.findall(r"<h3>(.*?)</h3>", results)
    assert titles == ["Recognition", "Translation", "Captions", "Synthesised speech"]
    shown = {}
    for table in re.findall(r"<table.*?</table>", results, re.S):
        head = re.findall(r"<button type=button>([^<]*)", table)
        for row in re.findall(r"<tr><td>.*?</tr>", table):
            cells = re.findall(r"<td[^>]*?(?: data-sort=\"([^\"]*)\")?>(.*?)</td>", row)
            shown[cells[0][1], cells[1][1]] = dict(zip(head, cells, strict=True))

    def result(task, part):
        return json.loads((dmlm / "exp/dmlm_a" / task / part / "result.json").read_text())

    def sort(task, part, column):
        return float(shown[task, part][column][0])

    assert len(shown) == 7
    assert sort("st", "test", "BLEU") == result("st", "test")["bleu"] > 0
    assert sort("st", "test", "WER %") == result("st", "test")["wer"] > 0
    caption = result("caption", "digits")
    assert sort("caption", "digits", "right %") == caption["class_accuracy"] < 100
    assert sort("caption", "digits", "CIDEr-D") == caption["cider"]
    assert sort("tts", "dev", "heard WER %") == result("tts", "dev")["wer"]
    assert sort("tts", "dev", "MCD dB") == 4.25 and "RTF" in shown["asr", "dev"]
    low, high = wilson(caption["class_right"], 8)
    assert f"[{low:.2f}, {high:.2f}]" in shown["caption", "digits"]["right %"][1]


def test_wilsons_interval_is_where_the_normal_test_is_on_its_edge():
    for right, total in ((0, 8), (3, 8), (230, 400), (400, 400)):
        for bound in wilson(right, total):
            share = bound / 100
            distance = abs(right / total - share)
            assert distance == pytest.approx(1.959964 * np.sqrt(share * (1 - share) / total), abs=1e-9)


def test_sets_of_one_name_are_told_apart_by_task(page, pages):
    data = pages.data_of(page)
    assert [one["title"] for one in data["sets"]] == [
        "dev: recognition", "test: recognition", "dev: translation", "test: translation", "digits: captions",
        "dev: synthesised speech", "test: synthesised speech",
    ]  # fmt: skip
    assert [one["development"] for one in data["sets"]] == [True, False, True, False, False, True, False]
    assert data["sets"][2]["refs"] != data["sets"][0]["refs"]
    assert "not on this page" not in page


def test_captions_keep_their_own_closest_reference_and_their_images(page, dmlm, pages):
    part = next(one for one in pages.data_of(page)["sets"] if one["kind"] == "caption")
    closest = read_table(dmlm / "exp/dmlm_a/caption/digits/ref.closest")
    (system,) = part["systems"].values()
    chosen = zip(part["utts"], part["variants"], system, strict=True)
    assert {name: known[at][2] for name, known, at in chosen} == closest
    assert sorted(part["pictures"]) == sorted(closest)
    for name, address in part["pictures"].items():
        assert address.startswith("data:image/png;")
        assert pages.decoded(address) == (dmlm / "data/digits" / f"{name}.png").read_bytes()
    assert part["audio"] == {} and part["unit"] == "images"


def test_experiments_are_compared_although_their_closest_captions_differ(dmlm, pages):
    page = write_recipe_report(dmlm, report.read_samples, pages.FEW, report.read_pictures).path.read_text()
    data = pages.data_of(page)
    part = next(one for one in data["sets"] if one["kind"] == "caption")
    names = [data["systems"][int(index)]["name"] for index in part["systems"]]
    assert names == ["a", "b"] and "can be compared with none" not in page
    for index, name in zip(part["systems"], names, strict=True):
        heard = read_table(dmlm / f"exp/dmlm_{name}/caption/digits/text")
        own = read_table(dmlm / f"exp/dmlm_{name}/caption/digits/ref.closest")
        for row, utterance in enumerate(part["utts"]):
            text, path, reference = part["variants"][row][part["systems"][index][row]]
            assert reference == own[utterance] and (text or reference) == heard[utterance]
            assert bool(path) == (heard[utterance] != own[utterance])


@pytest.mark.slow
def test_models_with_several_tasks_are_averaged_over_seeds(small_tasks, fsdd_dir, tmp_path, pages):
    names = ("dmlm_x_seed1", "dmlm_x_seed2", "dmlm_y_seed1")
    folder = small_tasks.make_dmlm(tmp_path, fsdd_dir, names)
    study = pages.section(write_recipe_report(folder, None, pages.FEW).path.read_text(), "studies")
    for task, part, key in (
        ("asr", "test", "wer"),
        ("st", "dev", "bleu"),
        ("caption", "digits", "class_accuracy"),
    ):
        one, two, other = (
            json.loads((folder / "exp" / name / task / part / "result.json").read_text())[key]
            for name in names
        )
        assert f">{np.mean([one, two]):.2f} ± {np.std([one, two], ddof=1):.2f}<" in study
        assert f">{other:.2f}<" in study
    assert "tts test heard WER %" in study and "BLEU" in study


def test_synthesised_speech_lies_beside_the_recording(page, dmlm, pages):
    data = pages.data_of(page)
    part = data["sets"][-1]
    (system,) = part["spoken"]
    assert data["systems"][int(system)]["name"] == "tts"
    assert set(part["spoken"][system]) == set(part["audio"]) == set(part["utts"])
    wavs = read_table(dmlm / "exp/dmlm_a/tts/test/speech/wav.scp")
    for utterance, address in part["spoken"][system].items():
        samples, rate = soundfile.read(io.BytesIO(pages.decoded(address)))
        original, _ = soundfile.read(dmlm / wavs[utterance])
        assert len(samples) / rate == pytest.approx(len(original) / 16000, abs=0.1)
        spectrum = np.abs(np.fft.rfft(samples))
        assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(1000, abs=10)


def test_four_examples_have_two_players_and_two_spectra_each(page, pages):
    examples = pages.section(page, "speech")
    assert examples.count("<figure") == 4 and examples.count("<audio ") == 8
    assert examples.count("data:image/png;base64,") == 8 and examples.count(">seconds<") == 4
    assert "Hz, mel scale" in examples and "heard in it" in examples
    assert re.findall(r">(recorded|synthesised), \d\.\d\d s<", examples) == ["recorded", "synthesised"] * 4
    for address in re.findall(r'href="(data:image/png[^"]+)"', examples):
        width, height = np.frombuffer(pages.decoded(address)[16:24], ">u4")
        assert height == 80 and 20 < width <= 601


def test_a_tone_is_one_line_at_its_frequency():
    for hertz in (250.0, 1000.0, 3000.0):
        tone = np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)
        level = mel_decibels(tone)
        assert level.max() == 0 and level.min() == -RANGE and abs(len(level) - 100) <= 1
        band = int(level[20:-20].mean(axis=0).argmax())
        assert (band + 1) / 81 == pytest.approx(to_mel(hertz) / to_mel(8000), abs=1 / 81)
    assert (filters().max(axis=1) > 0.3).all()  # no band without a bin
    assert mel_decibels(np.zeros(100, np.float32)).shape[1] == 80  # silence, shorter than a window
    assert len(mel_decibels(np.ones(16000 * 60))) <= 601


def test_the_picture_has_time_to_the_right_and_high_frequencies_above():
    levels = np.full((3, 2), -RANGE, np.float32)
    levels[2, 1] = 0.0  # the last frame, the upper band
    content = png(levels)
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
    start = content.index(b"IDAT")
    size = int.from_bytes(content[start - 4 : start], "big")
    rows = np.frombuffer(zlib.decompress(content[start + 4 : start + 4 + size]), np.uint8).reshape(2, 4)
    assert rows.tolist() == [[0, 0, 0, 63], [0, 0, 0, 0]]
    Image = pytest.importorskip("PIL.Image")
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)
    assert picture.shape == (2, 3) and picture[0, 2] > 200 and picture[1, 0] < 30


def test_curves_of_several_modalities_have_their_weights_and_gaps(page, pages):
    training = pages.section(page, "curves")
    titles = [pages.plain(title) for title in re.findall(r"<figcaption>(.*?)</figcaption>", training)]
    titles = [" ".join(title.split()) for title in titles]
    assert titles[:6] == [
        "CE of text nats a token, weight 0.9", "CE of speech nats a token, weight 0.25",
        "CE of images nats a token, weight 0.25", "accuracy on text", "accuracy on speech",
        "accuracy on images",
    ]  # fmt: skip
    # the KL is no part of this objective: in the table, not among the charts
    assert not any(title.startswith("KL") for title in titles)
    assert "KL of speech (nats an utterance), only logged" in training
    # the second training point had no image: a gap, no fall to 0
    images = re.search(r"<figcaption>CE of images.*?</figure>", training, re.S)[0]
    first, second = (
        re.search(r' d="([^"]*)"', path)[1] for path in re.findall(r'<path class="line[^>]*>', images)
    )
    assert first.count("M") == 2 and second.count("M") == 1


def test_tokens_are_counted_by_modality(page, dmlm, small_tasks, pages):
    tokens = pages.plain(pages.section(page, "tokens"))
    images = read_table(dmlm / "dump/raw/digits/image_tokens").values()
    used = {token for line in images for token in line.split()}
    assert f"Images: {len(used)} of {small_tasks.PIECES} tokens occur" in tokens
    texts = ["dump/raw/dev/text.ts.en", "dump/raw/dev/text.ts.de", "data/digits/text"]
    words = {word for path in texts for line in read_table(dmlm / path).values() for word in line.split()}
    assert f"Text: {len(words)} of 30 words occur" in tokens
    assert "4 tokens an image, always" in tokens and "and 2 special tokens" in tokens
    for name in ("more_speech", "more_text", "caption"):  # an unlabelled entry of two files is two data sets
        assert name in tokens
    assert "Padding in training batches: 1.50 % on average" in tokens


def test_media_stay_within_their_bounds_and_may_be_absent(dmlm, small_tasks, tmp_path, pages):
    experiment = dmlm / "exp" / "dmlm_b"
    small = Limits(audio=4, audio_bytes=60_000, resamples=100, pictures=3, picture_bytes=10_000)
    page = pages.write(experiment, small)
    data = pages.data_of(page)
    spoken = [name for one in data["sets"] for each in one["spoken"].values() for name in each]
    assert len({*spoken, *(name for one in data["sets"] for name in one["audio"])}) <= 4
    sizes = [len(address) for one in data["sets"] for known in (one["audio"], *one["spoken"].values())
             for address in known.values()]  # fmt: skip
    examples = re.findall(r'src="(data:audio[^"]+)"', page)
    assert sum(sizes) + sum(map(len, examples)) <= 60_000
    assert sum(len(one["pictures"]) for one in data["sets"]) == 3
    page = write_experiment_report(experiment, None, pages.FEW).path.read_text()
    assert 'id="speech"' not in page and "<audio" not in page.partition("<script")[0]
    assert all(one["spoken"] == {} and one["pictures"] == {} for one in pages.data_of(page)["sets"])


def test_a_photograph_becomes_a_small_one(tmp_path, pages):
    Image = pytest.importorskip("PIL.Image")
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 600, 3)).astype(np.uint8)).save(path)
    address = report.picture_address(path)
    picture = Image.open(io.BytesIO(pages.decoded(address)))
    assert address.startswith("data:image/jpeg;") and picture.size == (160, 107) and len(address) < 40_000
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images.scp").write_text("a photo.png\nb gone.png\n")
    found = report.read_pictures([tmp_path], tmp_path, "set", ["a", "b", "c"])
    assert found == {"a": address}
    assert report.read_pictures([tmp_path], tmp_path, "none", ["a"]) == {}


def test_a_mixture_is_found_where_training_read_it_or_not_at_all(dmlm, tmp_path, pages):
    run = tmp_path / "exp" / "dmlm_a"
    run.parent.mkdir()
    for name in ("dump", "data", "conf"):
        (tmp_path / name).symlink_to(dmlm / name)
    shutil.copytree(dmlm / "exp" / "dmlm_a", run)
    (tmp_path / "exp" / "stats").mkdir()
    (run / "mixture.yaml").rename(tmp_path / "exp" / "stats" / "mixture.yaml")  # older runs keep no copy
    experiment = read_experiment(run)
    assert experiment.recipe == tmp_path and experiment.problems == []
    assert experiment.raw_dir == tmp_path / "dump" / "raw" and tmp_path / "data" in experiment.set_folders
    (tmp_path / "exp" / "stats" / "mixture.yaml").unlink()
    page = pages.write(run)
    assert "the data that config.yaml names was not found" in page and 'id="tokens"' not in page
    assert "Captions</h3>" in page
