"""The whole recipe at a tiny size, on recorded digits."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


SUMMARY = re.compile(r"\) stage (\d+) done in [^:]+: (.*)")  # the line that ends a stage
SETS = ("train", "dev", "test_isolated", "test_strings")
DONE_BEFORE = "nothing to do, all is there: "


def summaries(printed: str) -> list[tuple[int, str]]:
    """Stage and words of every such line; `1 234` becomes 1234."""
    return [(int(stage), re.sub(r"(?<=\d) (?=\d{3})", "", text)) for stage, text in SUMMARY.findall(printed)]


@pytest.fixture(scope="module")
def first_run(new_recipe):
    """The recipe, and what its first run printed."""
    recipe = new_recipe()
    return recipe, recipe.run()


@pytest.fixture(scope="module")
def finished(first_run):
    return first_run[0]


def test_raw_audio_becomes_a_table_of_word_error_rates(finished):
    experiment = next(finished.folder.glob("exp/asr_sld_*/decode_greedy")).parent
    for name in ("dev", "test_isolated", "test_strings"):
        result = json.loads((experiment / "decode_greedy" / name / "result.json").read_text())
        words = (experiment / "decode_greedy" / name / "ref.trn").read_text()
        assert result["ref_words"] == sum(len(line.split()) - 1 for line in words.splitlines()) > 0
        errors = result["sub"] + result["ins"] + result["del"]
        assert result["wer"] == pytest.approx(100 * errors / result["ref_words"])
        assert result["objective"] == "sld"
        assert result["audio_seconds"] > 0 and result["n_params"] > 0
    table = (experiment / "RESULTS.md").read_text()
    assert "test_strings" in table and "run.sh" in table


def test_every_stage_ends_in_one_line_whose_counts_are_true(first_run):
    recipe, done = first_run
    found = summaries(done.stderr)
    assert [stage for stage, _ in found] == list(range(1, 11))
    said = dict(found)
    assert not any(DONE_BEFORE in text for text in said.values())

    def fields(*paths: Path) -> list[list[str]]:
        """What follows the first word of each line."""
        return [line.split()[1:] for path in paths for line in path.read_text().splitlines()]

    folder = recipe.folder
    (decoded,) = (path.relative_to(folder) for path in folder.glob("exp/asr_sld_*/decode_greedy"))
    utterances = len(fields(*(folder / "dump/raw/org" / name / "text" for name in SETS)))
    labels = fields(*(folder / "dump/extracted/mfcc" / name / "pseudo_labels_km40.txt" for name in SETS))
    tokens = [str(len(path.read_text().splitlines())) for path in folder.glob("data/token_list/*/tokens.txt")]
    lengths = fields(*folder.glob("exp/asr_sld_stats_*/*/sequence_shape"))
    hypotheses = len(fields(*(folder / decoded / name / "text" for name in SETS[1:])))
    packed = [path for path in folder.glob("exp/packed/**/*") if path.is_file()]

    assert said[1].startswith(f"4 data directories ({utterances} utterances, ")
    assert said[1].endswith(" of speech) in dump/raw/org")
    assert said[2] == "nothing to do"
    assert said[3].startswith("1 k-means (40 clusters, ")
    assert said[4].startswith(f"units of 4 sets ({utterances} utterances, ")
    assert f" {sum(map(len, labels))} units, " in said[4]
    lists = re.match(r"4 token lists \(([\d, ]+) tokens\) in data/token_list; 1 report of units", said[5])
    assert sorted(lists[1].split(", ")) == sorted(tokens)
    total = sum(int(length) for (length,) in lengths)
    assert said[6].startswith(f"lengths of 2 sets ({len(lengths)} utterances, {total} tokens) in exp/")
    assert said[7] == f"1 trained model (2 epochs) in {decoded.parent}"
    assert said[8] == f"3 decoded sets ({hypotheses} utterances) in {decoded}"
    for name in SETS[1:]:
        wer = json.loads((folder / decoded / name / "result.json").read_text())["wer"]
        assert f"{name} WER {wer:.2f} %" in said[9]
    assert said[10].startswith(f"1 pack ({len(packed)} files, ")
    assert len(re.findall(r"^\| decode_greedy +\| test_strings ", done.stdout, re.MULTILINE)) == 1


def test_token_files_keep_the_asr2_layout(finished):
    folder = finished.folder
    expected = [
        "dump/extracted/mfcc/train/pseudo_labels_km40.txt",
        "exp/kmeans/mfcc_40clusters/km_40.mdl",
        "exp/kmeans/distinct_cjk_token_lists",
        "dump/raw/train/text.ts.mfcc_km40",
        "dump/raw/train/text.rm.mfcc_km40",
        "dump/raw/train/text.ts.en",
        "dump/raw/train/utt2spk",
        "dump/raw/train/feats_type",
        "dump/raw/lm_train.txt",
        "data/token_list/src_bpe_unigram80_ts_mfcc_km40/tokens.txt",
        "data/token_list/tgt_bpe_unigram30_ts_en/bpe.model",
        "data/token_list/word_en/tokens.txt",
    ]
    assert [name for name in expected if not (folder / name).exists()] == []
    lists = (folder / "exp/kmeans/distinct_cjk_token_lists").read_text().splitlines()
    assert len(lists) == 20902 and lists[7] == f"7 {chr(0x4E07)}"


def test_a_second_run_does_no_work_again_and_changes_no_output(finished):
    costly = {".wav", ".safetensors", ".mdl", ".pth", ".model"}

    def outputs() -> dict[Path, object]:
        found = {}
        for path in finished.folder.rglob("*"):
            if not path.is_file() or re.search(r"/log/|run\.sh|train\.(log|json)|RESULTS", str(path)):
                continue
            made = path.suffix in costly or "pseudo_labels" in path.name or path.name == "scores"
            found[path] = path.stat().st_mtime_ns if made else path.read_bytes()
        return found

    before = outputs()
    said = summaries(finished.run().stderr)
    after = outputs()
    assert [str(path) for path in before | after if before.get(path) != after.get(path)] == []
    assert [stage for stage, text in said if text.startswith(DONE_BEFORE)] == [3, 4, 5, 6, 7, 8, 10]


def test_speed_perturbation_triples_the_training_set(new_recipe):
    recipe = new_recipe()
    recipe.run("--speed_perturb_factors", "0.9 1.0 1.1", "--stop_stage", "4")
    original = (recipe.folder / "dump/raw/org/train/wav.scp").read_text().splitlines()
    labels = (recipe.folder / "dump/extracted/mfcc/train_sp/pseudo_labels_km40.txt").read_text().splitlines()
    lengths = {line.split()[0]: len(line.split()) - 1 for line in labels}
    assert len(lengths) == 3 * len(original)
    plain = [name for name in lengths if not name.startswith("sp")]
    slow, fast = (sum(lengths[f"sp{factor}-{name}"] for name in plain) for factor in (0.9, 1.1))
    assert 1.15 < slow / fast < 1.3


def test_stages_run_alone(finished):
    done = finished.run("--stage", "3", "--stop_stage", "5")
    assert re.findall(r"stage (\d):", done.stdout + done.stderr) == ["3", "4", "5"]


def test_help_names_every_option_and_runs_nothing(new_recipe):
    recipe = new_recipe()
    done = recipe.run("--help")
    for option in (
        "--stage",
        "--stop_stage",
        "--skip_stages",
        "--ngpu",
        "--num_nodes",
        "--nj",
        "--dry_run",
        "--objective",
    ):
        assert option in done.stdout
    assert not (recipe.folder / "exp").exists()


def test_dry_run_shows_commands_and_writes_nothing(new_recipe):
    recipe = new_recipe()
    before = sorted(recipe.folder.rglob("*"))
    done = recipe.run("--dry_run", "true")
    assert "espnet_sld.bin.train" in done.stdout
    assert sorted(recipe.folder.rglob("*")) == before


def test_unknown_option_is_one_clear_error(new_recipe):
    done = new_recipe().run("--no_such_option", "1", check=False)
    assert done.returncode != 0
    assert "--no_such_option" in done.stderr


def test_a_failed_stage_shows_its_log_and_how_to_resume(new_recipe, few_digits, tmp_path):
    broken = tmp_path / "recordings"
    broken.mkdir()
    for wav in (few_digits / "recordings").iterdir():
        (broken / wav.name).symlink_to(wav)
    victim = broken / "3_jackson_11.wav"
    content = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(content[: len(content) // 2])
    recipe = new_recipe()
    recipe.options[1] = str(tmp_path)
    done = recipe.run("--stop_stage", "4", check=False)
    assert done.returncode != 0
    assert "3_jackson_11.wav" in done.stderr and "--stage 1" in done.stderr
