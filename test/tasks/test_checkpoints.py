"""Whole files only, the last good checkpoint, n-best links and correct averages."""

import logging
from pathlib import Path

import pytest
import torch

from espnet_sld.bin.train import load_task
from espnet_sld.errors import InputError

load_task()
from espnet2.train.reporter import Reporter  # noqa: E402

from espnet_sld.tasks import checkpoints  # noqa: E402

CRITERIA = [("valid", "loss", "min"), ("valid", "acc", "max")]


def state(value: float) -> dict:
    return {"model": {"w": torch.full((3,), value)}, "reporter": {"epoch": int(value)}, "optimizers": []}


def test_saving_keeps_the_one_before(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        checkpoints.save_checkpoint(state(value), tmp_path)
    assert checkpoints.load_checkpoint(tmp_path)["reporter"]["epoch"] == 3
    (tmp_path / checkpoints.CHECKPOINT).unlink()
    assert checkpoints.load_checkpoint(tmp_path)["reporter"]["epoch"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoints.PREVIOUS]


@pytest.mark.parametrize("damage", ["truncate", "empty", "garbage", "flip"])
def test_a_damaged_checkpoint_falls_back_with_a_warning(tmp_path: Path, caplog, damage: str) -> None:
    for value in (1.0, 2.0):
        checkpoints.save_checkpoint(state(value), tmp_path)
    path = tmp_path / checkpoints.CHECKPOINT
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((3,), 2.0).numpy().tobytes())
    flipped = content[:place] + b"\x7f" + content[place + 1 :]
    path.write_bytes(
        {"truncate": content[: len(content) // 2], "empty": b"", "garbage": b"x" * 500, "flip": flipped}[
            damage
        ]
    )
    with caplog.at_level(logging.WARNING):
        assert checkpoints.load_checkpoint(tmp_path)["reporter"]["epoch"] == 1
    assert "checkpoint.pth is damaged" in caplog.text
    assert "going on from" in caplog.text


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".checkpoint.pth.x1y2.tmp", ".3epoch.pth.abc.tmp", "other.tmp", "2epoch.pth"):
        (tmp_path / name).write_bytes(b"")
    checkpoints.remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2epoch.pth", "other.tmp"]


def test_no_checkpoint_is_none_and_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    assert checkpoints.load_checkpoint(tmp_path) is None
    (tmp_path / checkpoints.CHECKPOINT).write_bytes(b"no")
    with pytest.raises(InputError, match=r"checkpoint\.pth: no checkpoint can be read; delete"):
        checkpoints.load_checkpoint(tmp_path)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Reporter]:
    reporter = Reporter()
    for epoch, (loss, acc) in enumerate([(3.0, 0.9), (1.0, 0.5), (2.0, 0.7), (4.0, 0.1)], 1):
        reporter.set_epoch(epoch)
        reporter.stats[epoch] = {"valid": {"loss": loss, "acc": acc}}
        model = {"w": torch.tensor([float(epoch)]), "steps": torch.tensor(7)}
        checkpoints.save(model, tmp_path / f"{epoch}epoch.pth")
    return tmp_path, reporter


def test_links_and_removals_follow_the_reporter(trained) -> None:
    directory, reporter = trained
    for _ in range(2):  # harmless to repeat
        checkpoints.update_links(directory, reporter, CRITERIA)
        checkpoints.remove_models(directory, reporter, CRITERIA, keep=1)
    assert (directory / "latest.pth").readlink() == Path("4epoch.pth")
    assert (directory / "valid.loss.best.pth").readlink() == Path("2epoch.pth")
    assert (directory / "valid.acc.best.pth").readlink() == Path("1epoch.pth")
    assert sorted(path.name for path in directory.glob("*epoch.pth")) == [
        "1epoch.pth",
        "2epoch.pth",
        "4epoch.pth",
    ]


def test_each_criterion_gets_its_own_average(trained) -> None:
    directory, reporter = trained
    checkpoints.average_nbest(directory, reporter, CRITERIA, [1, 2])
    read = {path.name: torch.load(path, weights_only=True) for path in directory.glob("*.ave*.pth")}
    assert read["valid.loss.ave_2best.pth"]["w"].item() == pytest.approx(2.5)  # epochs 2 and 3
    assert read["valid.acc.ave_2best.pth"]["w"].item() == pytest.approx(2.0)  # epochs 1 and 3
    assert read["valid.loss.ave_2best.pth"]["steps"].item() == 7
    assert read["valid.acc.ave_1best.pth"]["w"].item() == 1.0
    assert (directory / "valid.acc.ave.pth").readlink() == Path("valid.acc.ave_2best.pth")
