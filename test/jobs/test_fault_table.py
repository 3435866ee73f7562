"""The table of faults: a case measured again replaces its own rows, and nobody else's."""

import importlib
import json
import sys

import pytest

TEXT = "# Faults\n\n| fault |\n|---|\n| old |\n\n## Another campaign\n\ntheirs\n\n## A third\n"
THEIRS = {"name": "kill_somewhere", "fault": "theirs", "tried": 50, "lost": 0}


@pytest.fixture
def faults(repo_root, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_root / "tools" / "test_slurm"))
    before = set(sys.modules)
    yield importlib.import_module("faults")
    for name in set(sys.modules) - before:
        if not name.startswith("espnet_sld"):
            del sys.modules[name]


def test_rows_of_other_cases_and_campaigns_stay(faults, tmp_path):
    row = {"fault": "f", "outcome": "o", "seconds": 1.0, "lost": 0, "slurm": "s", "expected": True}
    rows = [{**row, "name": "time_limit"}, {**row, "name": "cancelled"}, THEIRS]
    (tmp_path / "faults.json").write_text(json.dumps({"rows": rows}))
    (tmp_path / "RESULTS.md").write_text(TEXT)
    new = faults.Row(**{**row, "outcome": "new", "name": "cancelled"})
    faults.write([new, new], tmp_path, "slurm-wlm 1", 2)
    stored = json.loads((tmp_path / "faults.json").read_text())["rows"]
    assert [(found["name"], found.get("outcome")) for found in stored] == [
        ("cancelled", "new"),
        ("cancelled", "new"),
        ("time_limit", "o"),
        ("kill_somewhere", None),
    ]
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| old |" not in text and "| f | s | new | 1.0 | 0 | 2 |" in text
    assert text.endswith("\n\n## Another campaign\n\ntheirs\n\n## A third\n")
