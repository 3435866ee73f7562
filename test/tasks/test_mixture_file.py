"""A mixture's file: data sets, tasks, portions of utterances; what is wrong in it is named."""

import pytest

from espnet_sld.errors import InputError
from espnet_sld.tasks.identity import TrainingRecord
from espnet_sld.tasks.mixture_file import read_mixture, task_name


def test_a_mixture_names_sets_tasks_tokens_and_files(mixtures):
    mixture = read_mixture(mixtures.options.mixture)
    assert [(entry.name, entry.template.name, entry.weight) for entry in mixture.train] == [
        ("asr", "asr", 2.0), ("tts", "tts", 1.0), ("mt", "mt", 1.0), ("caption", "caption", 0.3),
        ("raw_speech", "speech_lm", 1.0), ("raw_text", "text_lm", 1.0),
    ]  # fmt: skip
    assert mixture.tasks[2] == task_name(mixture.train[2].template) == "mt <generatetranslation_xx>"
    assert mixture.specials[-1] == "<generatetranslation_xx>"
    assert sorted(mixture.files) == sorted(mixtures.files.values())
    assert set(mixture.files) <= set(TrainingRecord(["--mixture", mixtures.options.mixture]).begun.inputs)


def test_portions_with_the_same_ids_complete_each_other(mixtures):
    asr, tts, _, _, raw, _ = read_mixture(mixtures.options.mixture).train
    utterances = [f"u{number}" for number in range(41)]
    parts = [entry.choose(utterances) for entry in (asr, tts, raw)]
    assert sorted(utterance for part in parts for utterance in part) == sorted(utterances)
    assert [len(part) for part in parts] == [10, 10, 21]
    assert parts[0] == asr.choose(utterances[::-1])  # whatever the file's order


@pytest.mark.parametrize(
    ("group", "base", "copies"),
    [
        (None, "utt{}", ["{}", "sp0.9-{}", "sp1.1-{}"]),
        (r"^(digit-\d+)", "digit-{:04d}", ["{}-c0", "{}-c1", "{}-s1-c0", "{}-s2-c1"]),
    ],
)
def test_copies_of_one_item_are_on_one_side_of_a_portion(mixtures, group, base, copies):
    both = {"speech": mixtures.files["speech"], **({} if group is None else {"portion_group": group})}
    labelled = {"name": "a", "task": "asr", "text": mixtures.files["text"], "portion": 0.1, **both}
    rest = {"name": "b", "task": "speech_lm", "portion": [0.1, 1.0], **both}
    sides = read_mixture(mixtures.write("groups.yaml", [labelled, rest])).train
    origin = {
        copy.format(base.format(number)): base.format(number) for number in range(200) for copy in copies
    }
    with_label, without = (entry.choose(list(origin)) for entry in sides)
    assert sorted([*with_label, *without]) == sorted(origin)
    assert {origin[name] for name in with_label}.isdisjoint(origin[name] for name in without)
    assert len({origin[name] for name in with_label}) == 20 and len(with_label) == 20 * len(copies)


def test_only_takes_its_utterances_of_the_same_portion(mixtures):
    pair = {"speech": mixtures.files["speech"], "portion": 0.3}
    sets = [
        {"name": "all", "task": "speech_lm", **pair},
        {"name": "a", "task": "speech_lm", "only": "-a", **pair},
    ]
    every, short = read_mixture(mixtures.write("only.yaml", sets)).train
    names = [f"{speed}u{number}-{kind}" for number in range(50) for kind in "ab" for speed in ("", "sp0.9-")]
    assert short.choose(names) == [name for name in every.choose(names) if name.endswith("-a")] != []
    assert [entry.only for entry in (every, short)] == [None, "-a"]


def test_an_utterance_that_the_group_does_not_fit_is_named(mixtures):
    entry = {"name": "a", "task": "speech_lm", "speech": mixtures.files["speech"], "portion": 0.5}
    found = read_mixture(mixtures.write("g.yaml", [{**entry, "portion_group": "^(digit-[0-9]+)"}]))
    with pytest.raises(InputError, match=r"portion_group '.*' does not fit utterance utt1"):
        found.train[0].choose(["digit-1-c0", "utt1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "asr_"}, "no template 'asr_'"),
        ({"task": None}, "no template"),
        ({"speech": None}, "task asr needs exactly the files speech, text, got text"),
        ({"image": "x"}, "needs exactly the files"),
        ({"weigth": 3}, "unknown key weigth"),
        ({"weight": 0}, "weight must be a positive number, not '0'"),
        ({"weight": "a"}, "weight must be a positive number"),
        ({"portion": 1.5}, "portion must be"),
        ({"portion": [0.5, 0.5]}, "portion must be"),
        ({"only": "(utt"}, "only .*: no regular expression"),
        ({"only": 3}, "only must be a regular expression, not '3'"),
        ({"portion_group": "utt[0-9]+"}, "portion_group must be a regular expression with a group"),
        ({"portion_group": "(utt"}, "portion_group .*: no regular expression"),
        ({"unlabelled": True}, "an unlabelled data set has no task"),
        ({"name": "a/b"}, "usable as a directory"),
        ({"name": None}, "mapping with at least a 'name'"),
        ({"task": "asr_sld", "language": "fr"}, "only to a task that has one"),
        ({"language": "fr", "generate_token": "<x>"}, "not both"),
        ({"generate_token": "x"}, "must be one word in angle brackets"),
    ],
)
def test_a_wrong_entry_is_named(mixtures, change, message):
    good = {"name": "one", "task": "asr", **mixtures.pair}
    assert read_mixture(mixtures.write("good.yaml", [good])).tasks == ["asr <generatetext>"]
    with pytest.raises(InputError, match=message):
        read_mixture(mixtures.write("bad.yaml", [{**good, **change}]))


def test_a_wrong_file_is_named(mixtures, tmp_path):
    good = {"name": "one", "task": "asr", **mixtures.pair}
    for content, message in (
        ("[", "not YAML"), ("- 1", "must be a mapping"), ("train: []", "'train' must be a list"),
        ("tain: []", "must be a mapping with the keys train, valid, specials"),
    ):  # fmt: skip
        (tmp_path / "m.yaml").write_text(content)
        with pytest.raises(InputError, match=message):
            read_mixture(tmp_path / "m.yaml")
    with pytest.raises(InputError, match="no such mixture"):
        read_mixture(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="two data sets of train are called 'one'"):
        read_mixture(mixtures.write("m.yaml", [good, good]))


def test_a_set_without_its_tokenizer_or_file_is_named(mixtures, tmp_path):
    mixtures.options.num_image_tokens = None
    with pytest.raises(InputError, match="task caption needs image tokens; give --num_image_tokens"):
        mixtures.opened()
    bad = {"name": "one", "task": "asr", "speech": mixtures.files["speech"], "text": str(tmp_path / "gone")}
    mixtures.options.mixture = mixtures.write("m.yaml", [bad])
    with pytest.raises(InputError, match=r"m\.yaml, data set 'one': .*gone: no such file"):
        mixtures.opened()
