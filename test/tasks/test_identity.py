"""A training belongs to its options and data; one that is finished is not run again."""

import pytest

from espnet_sld.errors import InputError
from espnet_sld.tasks.identity import TrainingRecord, read_pairs


def command(tmp_path, *more):
    data = tmp_path / "text"
    if not data.exists():
        data.write_text("a 一\n")
    return [
        "--output_dir",
        str(tmp_path / "exp"),
        "--resume",
        "true",
        "--train_data_path_and_name_and_type",
        f"{data},speech,text",
        *more,
    ]


def finish(tmp_path, *more):
    record = TrainingRecord(command(tmp_path, *more))
    record.begin()
    for name in ("checkpoint.pth", "config.yaml"):
        (record.directory / name).write_text("x")
    record.end()


def test_a_finished_training_is_recognised_by_content_and_options(tmp_path):
    assert not TrainingRecord(command(tmp_path, "--seed", "1")).finished()
    finish(tmp_path, "--seed", "1")
    assert TrainingRecord(command(tmp_path, "--seed", "1")).finished()
    assert TrainingRecord(command(tmp_path, "--seed", "1", "--num_workers", "3")).finished()
    assert not TrainingRecord(command(tmp_path, "--seed", "1", "--max_epoch", "9")).finished()
    (tmp_path / "text").write_text("a 丁\n")
    assert not TrainingRecord(command(tmp_path, "--seed", "1")).finished()


def test_a_training_never_goes_on_from_other_options_or_data_in_silence(tmp_path):
    finish(tmp_path, "--seed", "1")
    with pytest.raises(InputError, match=r"without seed=1; with seed=2.*--asr_tag"):
        TrainingRecord(command(tmp_path, "--seed", "2")).begin()
    TrainingRecord(command(tmp_path, "--seed", "1", "--max_epoch", "9")).begin()
    another_machine = ["--num_nodes", "2", "--nproc_per_node", "1", "--dist_init_method", "file:///x"]
    TrainingRecord(command(tmp_path, "--seed", "1", *another_machine, "--save_interval_steps", "9")).begin()
    (tmp_path / "text").write_text("a 丁\n")
    with pytest.raises(InputError, match=r"text changed"):
        TrainingRecord(command(tmp_path, "--seed", "1")).begin()


def test_soft_labels_count_by_their_content_alone(tmp_path):
    """Their record beside them also says where and how fast they were made."""
    labels, record = tmp_path / "soft.safetensors", tmp_path / "soft.safetensors.json"
    labels.write_bytes(b"labels")
    record.write_text('{"host": "a", "seconds": 1}')
    finish(tmp_path, "--soft_labels", str(labels))
    record.write_text('{"host": "b", "seconds": 2}')
    assert TrainingRecord(command(tmp_path, "--soft_labels", str(labels))).finished()
    labels.write_bytes(b"others")
    with pytest.raises(InputError, match=r"soft\.safetensors changed.*--asr_tag, --ctc_tag, --dmlm_tag"):
        TrainingRecord(command(tmp_path, "--soft_labels", str(labels))).begin()


def test_every_value_of_an_option_counts(tmp_path):
    finish(tmp_path, "--early_stopping_criterion", "valid", "loss", "min")
    assert TrainingRecord(command(tmp_path, "--early_stopping_criterion", "valid", "loss", "min")).finished()
    other = command(tmp_path, "--early_stopping_criterion", "valid", "ce_text", "min")
    assert not TrainingRecord(other).finished()


def test_parameters_to_start_from_count_by_their_content_also_where_a_part_is_taken(tmp_path):
    start = tmp_path / "start.pth"
    start.write_bytes(b"first")
    finish(tmp_path, "--init_param", f"{start}:model:model")
    assert TrainingRecord(command(tmp_path, "--init_param", f"{start}:model:model")).finished()
    start.write_bytes(b"second")
    assert not TrainingRecord(command(tmp_path, "--init_param", f"{start}:model:model")).finished()


def test_a_training_that_is_begun_anew_is_not_finished(tmp_path):
    finish(tmp_path, "--seed", "1")
    again = [word for word in command(tmp_path, "--seed", "1") if word not in ("--resume", "true")]
    TrainingRecord(again).begin()  # and killed: what stands in the directory now is half a training
    assert not TrainingRecord(command(tmp_path, "--seed", "1")).finished()


def test_options_of_the_yaml_count_too(tmp_path):
    conf = tmp_path / "train.yaml"
    conf.write_text(f"resume: true\noutput_dir: {tmp_path / 'exp'}\n")
    record = TrainingRecord(["--config", str(conf), "--seed", "1"])
    assert record.directory == tmp_path / "exp"
    record.begin()
    for name in ("checkpoint.pth", "config.yaml"):
        (record.directory / name).write_text("x")
    record.end()
    assert TrainingRecord(["--config", str(conf), "--seed", "1"]).finished()
    with pytest.raises(InputError, match="with seed=2"):
        TrainingRecord(["--config", str(conf), "--seed", "2"]).begin()


def test_both_spellings_of_an_option_are_read():
    assert read_pairs(["--a", "1", "--b=2", "--c", "--d", "x y", "z"]) == [
        ("a", "1"),
        ("b", "2"),
        ("c", ""),
        ("d", "x y"),
        ("d", "z"),
    ]
