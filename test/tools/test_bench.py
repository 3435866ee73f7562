"""tools/bench at a tiny size: each row's results equal its peer's, and what results.json says. No timing."""

import json
import math
import os
import subprocess
import sys

import pytest

SLOW = {"rows_decoding", "rows_steps", "rows_extraction"}
FIELDS = {
    "step": str,
    "peer": str,
    "ours": float,
    "peer_value": float,
    "unit": str,
    "ratio": float,
    "bar": float,
    "limit_share": float | None,
    "peak_bytes": int | None,
    "machine": str,
}


@pytest.fixture(scope="module")
def bench(repo_root):
    """tools/bench/bench.py and, importable, its neighbours, as when it is run."""
    folder, before = repo_root / "tools" / "bench", set(sys.modules)
    sys.path.insert(0, str(folder))
    import bench

    yield bench
    sys.path.remove(str(folder))
    for path in folder.glob("*.py"):
        if path.stem not in before:
            sys.modules.pop(path.stem, None)


def rows_without_transformers(bench) -> list[str]:
    """The rows that take a second; transformers or ESPnet load for more."""
    return [name for name in bench.ROWS if bench.ROWS[name].module not in SLOW]


@pytest.fixture(scope="module")
def run(bench, tmp_path_factory):
    """The quick rows once: exit code, and the JSON file."""
    output = tmp_path_factory.mktemp("bench") / "results.json"
    rows = rows_without_transformers(bench)
    code = bench.main(["--tiny", "--repeats", "1", "--output", str(output), "--rows", *rows])
    return code, output


def test_every_row_gives_its_peers_results(bench, run):
    code, output = run
    assert code == 0
    steps = [row["step"] for row in json.loads(output.read_text())]
    assert steps == rows_without_transformers(bench)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decode_hf1", "decode_hf_batched", "decode_released"])
def test_batched_decoding_gives_hugging_faces_hypotheses(bench, name):
    row = bench.measure(name, 1, tiny=True)
    assert row.step == name and "same hypotheses" in row.description


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train_tokens", "espnet_path", "units"])
def test_whole_steps_give_their_peers_results(bench, name):
    row = bench.measure(name, 1, tiny=True)
    assert row.step == name and row.ratio > 0


@pytest.mark.slow
def test_a_gpus_rows_run_where_there_is_none_and_load_neither_espnet_nor_s3prl(repo_root, tmp_path):
    output = tmp_path / "gpu.json"
    script = (
        "import sys; sys.path.insert(0, 'tools/bench'); import bench; "
        f"code = bench.main(['--gpu', 'cpu', '--tiny', '--repeats', '1', '--output', {str(output)!r}]); "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "assert not loaded & {'espnet', 'espnet2', 's3prl', 'jiwer', 'kaldiio'}, loaded; sys.exit(code)"
    )
    command = [sys.executable, "-c", script]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=repo_root, check=True, capture_output=True, timeout=300, env=environment)
    steps = {row["step"] for row in json.loads(output.read_text())}
    assert {"objective_time", "objective_memory", "train_tokens", "units", "decode_hf_batched"} <= steps


def test_the_results_have_the_named_fields(run):
    for row in json.loads(run[1].read_text()):
        for name, kind in FIELDS.items():
            assert isinstance(row[name], kind), (row["step"], name, row[name])
        assert math.isfinite(row["ratio"]) and row["ratio"] > 0 and row["bar"] > 0
        assert row["limit_share"] is None or row["limit_share"] > 0


def test_the_table_has_a_line_for_each_row_and_marks_those_below_their_bar(bench, run):
    import measure

    rows = [measure.Row(**row) for row in json.loads(run[1].read_text())]
    lines = [line for line in bench.table(rows).splitlines() if line.startswith("|")][2:]
    assert [line.split()[1] for line in lines] == [row.step for row in rows]
    assert len({len(line) for line in lines}) == 1
    assert ["(below)" in line for line in lines] == [row.ratio < row.bar for row in rows]


@pytest.mark.parametrize("value, text", [(0.03141, "0.0314"), (3.141, "3.14"), (68769.2, "68769"), (0, "0")])
def test_figures_have_three_digits(bench, value, text):
    assert bench._short(value) == text


def test_a_peer_with_other_results_gives_no_figure(bench, run, tmp_path, monkeypatch, capsys):
    import rows_training

    released = rows_training.released_loss
    monkeypatch.setattr(rows_training, "released_loss", lambda *args: released(*args) * 1.001)
    output = tmp_path / "results.json"
    code = bench.main(["--tiny", "--rows", "objective_time", "--repeats", "1", "--output", str(output)])
    assert code == 1 and not output.exists()
    assert "objective_time FAILED its check: SLD loss" in capsys.readouterr().err


def test_other_counts_than_jiwers_and_worse_centroids_are_noticed(bench, run, monkeypatch):
    import rows_scoring
    import rows_units

    monkeypatch.setattr(
        rows_scoring, "count_character_errors", lambda refs, _: ([len(r) for r in refs], None)
    )
    with pytest.raises(AssertionError, match="differ from jiwer's"):
        bench.measure("scoring", 1, tiny=True)
    monkeypatch.setattr(rows_units.KMeans, "assign", lambda self, frames: [0] * len(frames))
    with pytest.raises(AssertionError, match="not the nearest"):
        bench.measure("assignment", 1, tiny=True)


def test_lengths_are_padded_by_the_released_code_as_published(bench):
    """59–72 % of 1024 positions are padding (the figure that the bench's lengths are drawn for)."""
    import lengths

    speech, text = lengths.librispeech_like(20_000)
    total = speech + text + 2
    assert total.max() <= 1024 and min(speech.min(), text.min()) >= 1
    assert 0.59 < 1 - total.mean() / 1024 < 0.72


@pytest.mark.parametrize(
    ("operation", "group"),
    [
        ("aten::mm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention in one operation"),
        ("aten::native_layer_norm_backward", "softmax, norms"),
        ("aten::index_select", "copies, fills, look-ups"),
        ("aten::mul_", "other element-wise operations"),
        ("aten::catalogue", "other element-wise operations"),
    ],
)
def test_an_operation_is_in_the_group_of_what_it_does(bench, operation, group):
    import where

    assert where.group_of(operation) == group


@pytest.mark.slow
def test_the_profile_has_a_column_for_each_case_whose_shares_make_a_hundred(bench, capsys):
    import where

    where.main(tiny=True)
    head, _, *lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert len(head) == 5 and len(lines) == len(where.GROUPS) + 2
    for column in range(1, 5):
        assert abs(sum(float(line[column]) for line in lines[:-1]) - 100) <= len(lines)
        assert float(lines[-1][column]) >= 0
