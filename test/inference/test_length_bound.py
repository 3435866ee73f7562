"""The bound of a task that several data sets of a mixture teach."""

import json

import pytest

from espnet_sld.errors import InputError
from espnet_sld.inference.length_bound import statistics_of_task


def test_the_bound_is_of_the_data_set_with_the_longest_targets_whatever_its_name(tmp_path):
    """Names are not tasks, and a language makes another task."""
    for name, task, ratio in (
        ("read", "asr <generatetext>", 0.25),
        ("spoken", "asr <generatetext>", 0.5),
        ("asr", "st <generatetranslation_fr>", 3.0),
        ("st_de", "st <generatetranslation_de>", 4.0),
        ("raw", "speech_lm", None),
    ):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        values = {"task_name": task, **({} if ratio is None else {"max_target_per_condition": ratio})}
        (folder / "length_stats.json").write_text(json.dumps(values))
    for task, name in (("asr <generatetext>", "spoken"), ("st <generatetranslation_fr>", "asr")):
        assert statistics_of_task(tmp_path, task) == tmp_path / "train" / name / "length_stats.json"
    with pytest.raises(InputError, match=r"no data set of the task .tts <x>.; there are: asr .*speech_lm"):
        statistics_of_task(tmp_path, "tts <x>")
    with pytest.raises(InputError, match=r"there are: none; run bin.collect_mixture first"):
        statistics_of_task(tmp_path / "nowhere", "asr <generatetext>")
    (tmp_path / "train/read/length_stats.json").write_text("{}")
    with pytest.raises(InputError, match=r"read/length_stats.json: not a mixture's length statistics"):
        statistics_of_task(tmp_path, "asr <generatetext>")
