"""Around a stock decoder: every utterance goes to one job and comes back, and loading is no decoding time."""

import json
from datetime import datetime
from pathlib import Path

import pytest
import torch

from espnet_sld.bin import espnet_shards
from espnet_sld.errors import InputError
from espnet_sld.files import read_table, write_table

HYPOTHESES = {f"utt{number}": "one two" * (number % 2) for number in range(5)}
STARTED = 1_700_000_000.0


@pytest.fixture
def options(tmp_path) -> list[str]:
    write_table(tmp_path / "keys", dict.fromkeys(HYPOTHESES, "一丁"))
    write_table(tmp_path / "utt2dur", dict.fromkeys(HYPOTHESES, "2.0"))
    weights = {"layer.weight": torch.ones(3, 4), "norm.running_mean": torch.ones(4)}
    torch.save(weights, tmp_path / "valid.acc.ave.pth")
    (tmp_path / "decode.yaml").write_text("beam_size: 5\n")
    return [
        *("--keys", str(tmp_path / "keys"), "--model", str(tmp_path / "valid.acc.ave.pth")),
        *("--config", str(tmp_path / "decode.yaml"), "--out_dir", str(tmp_path / "out"), "--num_shards", "2"),
    ]


def decode(log: Path, shard: int, prefix: str = "", before: str = "", loading: float = 3.0) -> None:
    """What a job of 10 s that loads its model for `loading` seconds leaves behind."""
    keys = read_table(log / f"keys.{shard}")
    found = {prefix + utterance: before + HYPOTHESES[utterance] for utterance in keys}
    (log / f"output.{shard}" / "1best_recog").mkdir(parents=True)
    write_table(log / f"output.{shard}" / "1best_recog" / "text", found)
    result = {"seconds": 10.0, "started": STARTED, "cpu_seconds": 9.0}
    (log / f"decode.{shard}.json").write_text(json.dumps(result))
    stamps = [datetime.fromtimestamp(STARTED + loading + more) for more in (0.25, 4)]
    first, later = (stamp.strftime("%Y-%m-%d %H:%M:%S,%f")[:-3] for stamp in stamps)
    (log / f"decode.{shard}.log").write_text(
        f"# started\n{first} (mt_inference:164) INFO: Text tokenizer: WordTokenizer()\n"
        f"{later} (beam_search:475) INFO: best hypo: Text tokenizer\n"
    )


def join(options: list[str], tmp_path: Path, *more: str) -> tuple[dict[str, str], dict]:
    espnet_shards.main(["join", *options, "--utt2dur", str(tmp_path / "utt2dur"), "--seed", "3", *more])
    out = tmp_path / "out"
    return read_table(out / "text", allow_empty_value=True), json.loads((out / "decode.json").read_text())


def test_all_utterances_come_back_and_loading_is_not_counted(options, tmp_path, capsys):
    espnet_shards.main(["split", *options])
    log = tmp_path / "out" / "log"
    dealt = [read_table(log / f"keys.{shard}") for shard in (1, 2)]
    assert sorted([*dealt[0], *dealt[1]]) == sorted(HYPOTHESES)
    for shard in (1, 2):
        decode(log, shard)
    texts, record = join(options, tmp_path)
    assert texts == {utterance: text.strip() for utterance, text in HYPOTHESES.items()}
    assert record["load_seconds"] == pytest.approx(2 * 3.25)
    assert record["decode_seconds"] == pytest.approx(2 * 6.75)
    assert record["rtf"] == pytest.approx(13.5 / 10)
    assert (record["cpu_seconds"], record["n_params"], record["seed"]) == (18.0, 12, 3)
    capsys.readouterr()
    espnet_shards.main(["split", *options])
    assert capsys.readouterr().out == "done\n"
    (tmp_path / "decode.yaml").write_text("beam_size: 1\n")  # another configuration decodes again
    espnet_shards.main(["split", *options])
    assert capsys.readouterr().out == ""


def test_a_log_without_the_line_counts_all_the_time(options, tmp_path):
    espnet_shards.main(["split", *options])
    log = tmp_path / "out" / "log"
    for shard in (1, 2):
        decode(log, shard)
        (log / f"decode.{shard}.log").write_text("nothing\n")
    assert join(options, tmp_path)[1]["decode_seconds"] == 20.0


def test_prompts_are_taken_off_the_hypotheses(options, tmp_path):
    espnet_shards.main(["split", *options])
    log = tmp_path / "out" / "log"
    for shard in (1, 2):
        decode(log, shard, prefix="asr_", before="<startofspeech>一丁<generatetext> ")
        keys = log / f"keys.{shard}"  # the prompts' ids
        write_table(keys, {f"asr_{utterance}": "-" for utterance in read_table(keys)})
    texts, _ = join(options, tmp_path, "--strip_task", "asr_", "--after", "<generatetext>")
    assert texts == {utterance: text.strip() for utterance, text in HYPOTHESES.items()}


def test_what_a_job_left_out_is_named(options, tmp_path):
    espnet_shards.main(["split", *options])
    log = tmp_path / "out" / "log"
    decode(log, 1)
    with pytest.raises(InputError, match=r"output.2/1best_recog/text: missing; run stage 8 again"):
        join(options, tmp_path)
    decode(log, 2)
    path = log / "output.2" / "1best_recog" / "text"
    path.write_text("utt1 one\n")
    with pytest.raises(InputError, match="1 utterances have no hypothesis, first utt3"):
        join(options, tmp_path)
    with pytest.raises(InputError, match="5 utterances cannot go to 6 jobs"):
        espnet_shards.main(["split", *options[:-1], "6"])
