"""tools/fault_campaign: malformed data is refused by name; a short campaign of kills loses nothing."""

import json
import sys
from pathlib import Path

import pytest

from espnet_sld.bin import data_dir, fit_kmeans, fix_data_dir, validate_data_dir
from espnet_sld.errors import InputError

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "fault_campaign"
sys.path.insert(0, str(TOOLS))

import bad_data  # noqa: E402
import kills  # noqa: E402
from fault_rows import HEADING, record  # noqa: E402
from kinds import KINDS  # noqa: E402
from outputs import differences, snapshot, temporaries  # noqa: E402
from spoilt import Place, make  # noqa: E402

# What a test can try in its own process; the others limit the process.
REFUSED = [name for name, kind in KINDS.items() if kind.stage and not kind.limit]


@pytest.fixture
def place(fsdd_dir, tmp_path, monkeypatch) -> Place:
    """Good data directories, in the current directory."""
    monkeypatch.chdir(tmp_path)
    return make(tmp_path, fsdd_dir)


def first_stages(options: dict[str, str], last: int) -> None:
    """What stage 1 and, if it is the last, stage 3 of a recipe run on the training set."""
    pipes = ["--allow_pipes", options.get("--allow_pipes", "false")]
    data_dir.main(["combine", "dump/raw/org/train", "data/train", *pipes])
    if last == 3:
        conf = options.get("--kmeans_feature_conf", "frame_shift_ms=20")
        arguments = ["--data_dir", "dump/raw/org/train", "--out_dir", "exp/kmeans/mfcc", *pipes]
        fit_kmeans.main([*arguments, "--num_clusters", "8", "--frontend_conf", conf])


def test_there_are_thirty_kinds_of_malformed_data():
    assert len(KINDS) >= 30 and len(REFUSED) >= 30


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_data_is_refused_with_place_and_remedy_and_mended(place, name, capsys):
    kind = KINDS[name]
    kind.spoil(place)
    options = dict(zip(kind.options[::2], kind.options[1::2], strict=True))
    if kind.stage > 1:
        first_stages(options, 1)
    with pytest.raises(InputError) as error:
        first_stages(options, kind.stage)
    assert [words for words in kind.says if words not in str(error.value)] == []
    if kind.fixed:
        how = ["--min_seconds", "0.025"] if name == "too_short" else ["--check_audio", "true"]
        capsys.readouterr()
        fix_data_dir.main(["data/train", *how])
        assert kind.fixed in capsys.readouterr().out
        assert validate_data_dir.main(["data/train", "--check_audio", "true"]) == 0


def test_what_a_run_lost_is_found(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name / "exp" / "log").mkdir(parents=True)
        (tmp_path / name / "exp" / "text").write_text("a b\n")
        (tmp_path / name / "exp" / "same").write_text("c\n")
        (tmp_path / name / "exp" / "x.done.json").write_text(name)
        (tmp_path / name / "exp" / "log" / "x.log").write_text(name)
        (tmp_path / name / "exp" / "best.pth").symlink_to("same")
    one, other = tmp_path / "one", tmp_path / "other"
    assert differences(snapshot(one), snapshot(other)) == []
    (one / "exp" / "text").write_text("a c\n")
    (one / "exp" / "best.pth").unlink()
    (one / "exp" / "more").write_text("")
    (one / "exp" / ".more.abc.tmp").write_text("")
    assert differences(snapshot(one), snapshot(other)) == [
        "exp/best.pth is gone",
        "exp/more is too much",
        "exp/text differs",
    ]
    assert temporaries(one) == ["exp/.more.abc.tmp"]


def test_rows_are_replaced_and_those_of_others_stay(tmp_path):
    cluster = {"fault": "a node lost", "outcome": "done", "seconds": 1.0, "lost": 0, "name": "node_lost"}
    (tmp_path / "faults.json").write_text(json.dumps({"slurm": "22", "rows": [cluster]}))
    (tmp_path / "RESULTS.md").write_text(
        f"# Faults\n\n| a node lost |\n\n{HEADING}old\n\n## Others\n\nstay\n"
    )
    row = {**cluster, "fault": "kill", "name": "kill_all", "tried": 3, "survived": 3}
    bad = {**row, "fault": "no text", "name": "data_no_text", "outcome": "a | b"}
    training = {**row, "fault": "kill in training", "name": "training_killed", "seconds": None}
    for _ in range(2):
        record("training", [training], tmp_path)
        record("kills", [row], tmp_path)
        record("bad_data", [bad], tmp_path)
    stored = json.loads((tmp_path / "faults.json").read_text())
    assert stored == {"slurm": "22", "rows": [cluster, training, row, bad]}
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.startswith("# Faults\n\n| a node lost |\n\n" + HEADING)
    assert text.endswith("\n\n## Others\n\nstay\n") and "old" not in text
    assert text.count("| kill | done | 3 | 3 | 1.0 | 0 |") == text.count("| no text | a \\| b |") == 1
    assert "| kill in training | done | 3 | 3 |  | 0 |\n| kill | " in text


@pytest.mark.campaign
def test_a_few_kills_lose_nothing(fsdd_dir, tmp_path):
    command = ["--recordings", str(fsdd_dir), "--kills", "4", "--seed", "1", "--work", str(tmp_path / "work")]
    assert kills.main(command) == 0
    rows = json.loads((tmp_path / "work" / "kills.json").read_text())["rows"]
    assert (rows[0]["tried"], rows[0]["survived"], rows[0]["lost"]) == (4, 4, 0)


@pytest.mark.campaign
def test_malformed_data_and_places_lose_nothing_in_a_whole_recipe(fsdd_dir):
    others = [name for name in KINDS if name not in REFUSED]
    assert bad_data.main(["--recordings", str(fsdd_dir), "--only", "truncated_ogg", "stereo", *others]) == 0
