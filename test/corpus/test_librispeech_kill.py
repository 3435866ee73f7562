"""LibriSpeech prepared anew with other options, and killed before its stamps are written."""

from unittest.mock import Mock

import pytest

from espnet_sld.bin import prepare_librispeech
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.stamps import Stamp


def test_a_kill_between_tables_and_stamp_does_not_pass_them_off_as_the_earlier_ones(
    small_librispeech, tmp_path, monkeypatch
):
    command = ["--librispeech_dir", str(small_librispeech), "--data_dir", str(tmp_path / "data")]
    command += ["--train_parts", "train-clean-100", "--train_set", "train_clean_100"]
    command += ["--dev_parts", "test-other", "--test_parts", "test-clean test-other"]
    prepare_librispeech.main(command)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Stamp, "write", Mock(side_effect=KeyboardInterrupt))
        prepare_librispeech.main([*command, "--case", "upper"])
    prepare_librispeech.main(command)
    for name in ("train_clean_100", "test_clean", "dev"):
        assert all(text.islower() for text in DataDir.read(tmp_path / "data" / name).text.values())
