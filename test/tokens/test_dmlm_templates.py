"""DMLM's templates: layout, kinds, round trip, and special tokens that never move what was there."""

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.tokens import IMAGE, SPEECH, TEXT, Vocabulary, assemble, get_template
from espnet_sld.tokens.dmlm_templates import ENDS, TASK_TOKENS, UNLABELLED, vocabulary_specials
from espnet_sld.tokens.image_ids import ImageTokenizer
from espnet_sld.tokens.limits import Limits

NAMES = ("asr", "tts", "st", "mt", "caption", "speech_lm", "text_lm", "image_lm")
TEMPLATES = {name: get_template(name) for name in NAMES}
TEMPLATES["mt_fr"] = get_template("mt").in_language("fr")
VOCABULARY = Vocabulary(text=10, speech=20, image=8, specials=vocabulary_specials(TEMPLATES.values()))
CODES = {"text": TEXT, "speech": SPEECH, "image": IMAGE}
SIZES = {"text": 10, "speech": 20, "image": 8}


def sample(template, seed=0, longest=6):
    rng = np.random.default_rng(seed)
    return {
        field: rng.integers(0, SIZES[kind], rng.integers(1, longest + 1))
        for field, kind in template.fields.items()
    }


def names_of(tokens):
    special = {VOCABULARY.id(name): name for name in VOCABULARY.specials}
    return [special.get(token, "·") for token in tokens.tolist()]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_sequence_gives_back_its_sample(name):
    template = TEMPLATES[name]
    for seed in range(5):
        given = sample(template, seed)
        tokens = assemble(template.training(given, VOCABULARY), VOCABULARY, 60, 20).tokens
        runs = np.split(
            tokens, np.flatnonzero(np.isin(tokens, [VOCABULARY.id(n) for n in VOCABULARY.specials]))
        )
        contents = [run[1:] for run in runs if len(run) > 1]  # each run begins with a special token
        assert len(contents) == len(given)
        for (field, kind), found in zip(template.fields.items(), contents, strict=True):
            np.testing.assert_array_equal(VOCABULARY.to_local(kind, found), given[field])


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("asr", "<startofspeech> · · <generatetext> · · <text_end>"),
        ("tts", "<startoftext> · · <generatespeech> · · <speech_end>"),
        ("st", "<startofspeech> · · <generatetranslation> · · <text_end>"),
        ("mt", "<startoftext> · · <generatetranslation> · · <text_end>"),
        ("mt_fr", "<startoftext> · · <generatetranslation_fr> · · <text_end>"),
        ("caption", "<startofimage> · · <generatecaption> · · <text_end>"),
        ("speech_lm", "<generatespeech> · · <speech_end>"),
        ("text_lm", "<generatetext> · · <text_end>"),
        ("image_lm", "<generateimage> · · <image_end>"),
    ],
)
def test_layout_is_start_condition_generate_target_end(name, layout):
    template = TEMPLATES[name]
    given = {field: np.array([1, 2]) for field in template.fields}
    sequence = assemble(template.training(given, VOCABULARY), VOCABULARY, 60, 20)
    assert " ".join(names_of(sequence.tokens)) == layout


@pytest.mark.parametrize("name", TEMPLATES)
def test_only_the_end_token_of_all_specials_is_a_target_and_of_the_last_modality(name):
    template = TEMPLATES[name]
    sequence = assemble(template.training(sample(template), VOCABULARY), VOCABULARY, 60, 20)
    for token, kind, label in zip(
        sequence.tokens.tolist(), sequence.kinds.tolist(), names_of(sequence.tokens), strict=True
    ):
        if label == "·":
            (own,) = [CODES[k] for k in CODES if token in VOCABULARY.range(k)]
            assert kind == own
        else:
            assert kind == (CODES[template.target_kind] if label == ENDS[template.target_kind] else 0)
    assert names_of(sequence.tokens)[-1] == ENDS[template.target_kind]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_begins_the_training_sequence_and_ends_in_the_generate_token(name):
    template = TEMPLATES[name]
    given = sample(template, longest=40)
    room = Limits(40, 9).target(template)
    prompt = assemble(template.prompt(given, VOCABULARY), VOCABULARY, 40, room)
    whole = assemble(template.training(given, VOCABULARY), VOCABULARY, 40, room)
    np.testing.assert_array_equal(prompt.tokens, whole.tokens[: len(prompt.tokens)])
    assert names_of(prompt.tokens)[-1] == template.generate
    assert (prompt.cut, len(whole.tokens) <= 40) == (whole.cut, True)


def test_limits_leave_the_text_its_room_and_unlabelled_data_all():
    assert Limits(100, 20).target(get_template("asr_sld")) == 20
    assert Limits(100, 20).target(TEMPLATES["tts"]) == 77
    assert Limits(100, 20, max_speech=50).target(TEMPLATES["tts"]) == 50
    assert Limits(100, 20, max_speech=50).target(TEMPLATES["speech_lm"]) == 100
    long = {"speech": np.zeros(500, int)}
    whole = assemble(TEMPLATES["speech_lm"].training(long, VOCABULARY), VOCABULARY, 100, 100)
    assert (len(whole.tokens), whole.cut_target) == (100, 402)


def test_every_task_token_is_there_as_soon_as_one_task_is_and_none_moves_when_one_is_added():
    assert vocabulary_specials([get_template("asr_sld")]) == ("<text_end>", "<speech_end>")
    one = vocabulary_specials([get_template("asr")])
    assert set(TASK_TOKENS) < set(one)
    more = vocabulary_specials(
        [get_template("asr"), TEMPLATES["mt_fr"], get_template("asr_sld")], ["<later>"]
    )
    assert more[: len(one)] == one
    assert more[len(one) :] == ("<generatetranslation_fr>", "<later>")
    sld = Vocabulary(text=10, speech=20)
    assert all(sld.range(kind) == VOCABULARY.range(kind) for kind in ("text", "speech"))
    assert [sld.id(name) for name in sld.specials] == [VOCABULARY.id(name) for name in sld.specials]


def test_a_language_and_a_name_of_ones_own_change_one_instance_only():
    assert TEMPLATES["mt_fr"].generate == "<generatetranslation_fr>"
    assert get_template("mt").generate == "<generatetranslation>"
    assert get_template("mt").generating("<tofrench>").specials[-1] == "<tofrench>"
    for name in ("generate", "<a b>", "<startoftext>"):
        with pytest.raises(InputError, match="generate token"):
            get_template("mt").generating(name)


def test_unlabelled_templates_know_their_modality():
    assert {kind: get_template(name).target_kind for kind, name in UNLABELLED.items()} == {
        kind: kind for kind in SIZES
    }


def test_image_tokens_come_back_and_others_are_refused():
    tokenizer = ImageTokenizer(8)
    assert tokenizer.decode(tokenizer.encode("7 0  3")) == "7 0 3"
    for line in ("8", "-1", "x", "1.0", "²"):
        with pytest.raises(InputError, match="no image token of 8 codes"):
            tokenizer.encode(line)
