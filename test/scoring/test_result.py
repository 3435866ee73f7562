"""result.json and the files beside it."""

import json
import subprocess

import pytest

from espnet_sld.bin import compare, results, score
from espnet_sld.errors import InputError
from espnet_sld.scoring.environment import git_revision
from espnet_sld.scoring.result import Result, read_result, read_utterance_errors, score_set
from espnet_sld.scoring.results_md import read_results, results_table

CONTRACT = {
    *("wer", "cer", "sub", "ins", "del", "ref_words", "utterances", "audio_seconds", "decode_seconds", "rtf"),
    *("objective", "model", "n_params", "git"),
}
META = {
    "audio_seconds": 100.0,
    "decode_seconds": 5.0,
    "objective": "sld",
    "model": "llama",
    "n_params": 864512,
    "git": "abc",
    "loops": 1,
    "truncated": 0,
    "batch_size": 32,
}


def scored(directory, hyp, ref="u1 one two three four\nu2 five\nu3\n", meta=META):
    directory.mkdir(parents=True)
    (directory / "text").write_text(hyp)
    (directory.parent / "ref").write_text(ref)
    return score_set(directory / "text", directory.parent / "ref", directory, meta)


def test_result_json_has_every_field_of_the_contract_and_rates_in_percent(tmp_path):
    scored(tmp_path / "decode_greedy" / "test", "u1 one two tree\nu2 five\nu3 six\n")
    values = json.loads((tmp_path / "decode_greedy" / "test" / "result.json").read_text())
    assert values.keys() >= CONTRACT
    assert (values["sub"], values["ins"], values["del"]) == (1, 1, 1)
    assert values["wer"] == 60.0
    assert values["cer"] == pytest.approx(100 * (1 + 5 + 3) / 22, abs=1e-3)
    assert values["rtf"] == 0.05
    assert (values["set"], values["decode_tag"]) == ("test", "decode_greedy")
    assert values["batch_size"] == 32
    assert read_result(tmp_path / "decode_greedy" / "test" / "result.json").as_dict() == values


def test_decoder_report_cannot_override_what_is_counted(tmp_path):
    result = scored(tmp_path / "d" / "test", "u1 x\nu2 x\nu3\n", meta={"wer": 0.0, "del": 0, "utterances": 9})
    assert (result.wer, result.deletions, result.utterances) == (100.0, 3, 3)
    assert result.audio_seconds is None


def test_files_beside_the_result_agree_with_it(tmp_path):
    out = tmp_path / "d" / "test"
    result = scored(out, "u3 six\nu1 one two tree\nu2 five\n")
    counts = read_utterance_errors(out / "per_utterance.tsv")
    assert counts.utterances == ("u1", "u2", "u3")
    assert counts.words.tolist() == [4, 1, 0]
    assert counts.errors.tolist() == [2, 0, 1]
    assert result.sentence_errors == 2
    assert (out / "hyp.trn").read_text() == "one two tree (u1)\nfive (u2)\nsix (u3)\n"
    assert (out / "ref.trn").read_text().endswith("(u3)\n")


def test_references_without_words_are_refused(tmp_path):
    with pytest.raises(InputError, match="all references are empty"):
        scored(tmp_path / "d" / "test", "u1 a\n", ref="u1\n")


def test_command_merges_the_report_found_in_the_set_and_copies_foreign_hypotheses(tmp_path, capsys):
    out = tmp_path / "exp" / "decode_greedy" / "test"
    out.mkdir(parents=True)
    (out / "decode.json").write_text(json.dumps(META))
    (tmp_path / "text").write_text("u1 a b\n")
    (tmp_path / "utt2spk").write_text("u1 anna\n")
    (tmp_path / "hyp").write_text("u1 a c\n")
    assert score.main(["--hyp", f"{tmp_path}/hyp", "--ref", f"{tmp_path}/text", "--out_dir", str(out)]) == 0
    assert "50.00" in capsys.readouterr().out
    assert read_result(out / "result.json").objective == "sld"
    assert (out / "text").read_text() == "u1 a c\n"
    assert (out / "ref.trn").read_text() == "a b (anna-u1)\n"


def test_damaged_report_is_named(tmp_path):
    (tmp_path / "text").write_text("u1 a b\n")
    (tmp_path / "decode.json").write_text('{"rtf": ')
    arguments = ["--hyp", f"{tmp_path}/text", "--ref", f"{tmp_path}/text", "--out_dir", f"{tmp_path}/d/test"]
    with pytest.raises(InputError, match=r"decode\.json: not JSON"):
        score.main([*arguments, "--decode_json", f"{tmp_path}/decode.json"])


def test_results_md_holds_table_commands_model_and_environment(tmp_path, capsys):
    exp = tmp_path / "asr_sld_x"
    for name in ("test", "dev", "test_voices"):
        scored(exp / "decode_greedy" / name, "u1 one two tree\nu2 five\nu3 six\n")
    (exp / "run.sh").write_text("#!/bin/sh\n./run.sh --objective sld\n")
    assert results.main(["--exp_dir", str(exp)]) == 0
    text = (exp / "RESULTS.md").read_text()
    assert "./run.sh --objective sld" in text
    assert "864 512" in text
    assert "| python" in text and "| torch" in text and "| cpu" in text
    assert "| abc" in text
    assert "all test sets" in capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.startswith("| decode_greedy")]
    assert [row.split("|")[2].strip() for row in rows] == ["dev", "test", "test_voices", "all test sets"]


def test_total_adds_counts_instead_of_averaging_rates(tmp_path):
    scored(tmp_path / "decode_greedy" / "test_a", "u1 x\n", ref="u1 a\n")
    scored(tmp_path / "decode_greedy" / "test_b", "u1 a b c\n", ref="u1 a b c\n")
    total = results_table(read_results(tmp_path)).splitlines()[-1]
    assert total.split("|")[3].strip() == "25.00"


def test_experiment_without_results_is_an_error(tmp_path):
    with pytest.raises(InputError, match="decode and score"):
        results.main(["--exp_dir", str(tmp_path)])


def test_result_of_another_layout_is_an_error(tmp_path):
    (tmp_path / "result.json").write_text('{"wer": 1.0}')
    with pytest.raises(InputError, match="not a result of this toolkit"):
        read_result(tmp_path / "result.json")


def test_result_survives_the_round_trip_through_its_dictionary(tmp_path):
    result = scored(tmp_path / "d" / "test", "u1 a\nu2 b\nu3\n")
    assert Result.from_dict(result.as_dict()) == result


def test_compare_is_labelled_as_about_models(tmp_path, capsys):
    ref = "".join(f"u{n} one two three\n" for n in range(40))
    good = ref.replace("u1 one", "u1 two")
    bad = "".join(f"u{n} one two\n" for n in range(40))
    for name, hyp in (("good", good), ("bad", bad)):
        scored(tmp_path / name / "test", hyp, ref=ref)
    sets = ["--first", f"{tmp_path}/good/test", "--second", f"{tmp_path}/bad/test"]
    assert compare.main([*sets, "--resamples", "200", "--out", f"{tmp_path}/c.json"]) == 0
    shown = capsys.readouterr().out
    assert "not the methods" in shown
    values = json.loads((tmp_path / "c.json").read_text())
    assert values["verdict"] == "better"
    assert values["first_has_fewer_errors"] == 39  # in u1, one error each


def test_compare_refuses_different_sets(tmp_path):
    scored(tmp_path / "a" / "test", "u1 a\n", ref="u1 a\n")
    scored(tmp_path / "b" / "test", "u2 a\n", ref="u2 a\n")
    with pytest.raises(InputError, match="other utterances"):
        compare.main(["--first", f"{tmp_path}/a/test", "--second", f"{tmp_path}/b/test"])


def test_code_below_another_projects_checkout_has_no_revision(tmp_path):
    """Installed into a project's .venv, it must not report the project's commit as its own."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "code.py").write_text("1\n")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "own"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    installed = tmp_path / ".venv" / "espnet_sld"
    installed.mkdir(parents=True)
    (installed / "code.py").write_text("1\n")
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert git_revision(tmp_path / "own") == head
    assert git_revision(installed) == "unknown"
    (tmp_path / "own" / "code.py").write_text("2\n")
    assert git_revision(tmp_path / "own") == f"{head}-dirty"
