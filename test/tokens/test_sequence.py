"""Templates and assembly: order, kinds, and a cut that never looks at the reference."""

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.tokens import IMAGE, SPEECH, TEMPLATES, TEXT, Segment, Vocabulary, assemble, get_template
from espnet_sld.tokens.segments import special
from espnet_sld.tokens.templates import Template

VOCABULARY = Vocabulary(text=10, speech=20, image=4, specials=("<text_end>", "<speech_end>", "<asr>"))
ASR = get_template("asr_sld")


def sample(num_speech: int, num_text: int) -> dict[str, np.ndarray]:
    return {"speech": np.arange(num_speech) % 20, "text": np.arange(num_text) % 10}


def test_asr_sld_is_speech_end_text_end():
    sequence = assemble(ASR.training(sample(3, 2), VOCABULARY), VOCABULARY, 100, 10)
    assert sequence.tokens.tolist() == [12, 13, 14, 11, 0, 1, 10]
    assert sequence.kinds.tolist() == [SPEECH] * 4 + [TEXT] * 3
    assert (sequence.tokens.dtype, sequence.kinds.dtype) == (np.int64, np.uint8)
    assert (sequence.cut, sequence.cut_target) == (0, 0)


def test_prompt_is_the_beginning_of_the_training_sequence():
    whole = assemble(ASR.training(sample(5, 3), VOCABULARY), VOCABULARY, 100, 10)
    prompt = assemble(ASR.prompt(sample(5, 0), VOCABULARY), VOCABULARY, 100, 10)
    np.testing.assert_array_equal(prompt.tokens, whole.tokens[: len(prompt.tokens)])
    np.testing.assert_array_equal(prompt.kinds, whole.kinds[: len(prompt.kinds)])


@pytest.mark.parametrize("num_text", [0, 1, 10])
@pytest.mark.parametrize("num_speech", [17, 18, 19, 40])
def test_cut_is_the_same_in_training_and_decoding_whatever_the_reference(num_speech, num_text):
    given = sample(num_speech, num_text)
    whole = assemble(ASR.training(given, VOCABULARY), VOCABULARY, 30, 10)
    prompt = assemble(ASR.prompt(given, VOCABULARY), VOCABULARY, 30, 10)
    assert whole.cut == prompt.cut == max(0, num_speech - 18)
    np.testing.assert_array_equal(prompt.tokens, whole.tokens[: len(prompt.tokens)])
    assert len(prompt.tokens) + 10 + 1 <= 30
    kept = VOCABULARY.to_local("speech", whole.tokens[: num_speech - whole.cut])
    np.testing.assert_array_equal(kept, given["speech"][: num_speech - whole.cut])  # cut at the end


def test_longest_possible_sequence_has_exactly_max_positions():
    assert len(assemble(ASR.training(sample(99, 99), VOCABULARY), VOCABULARY, 30, 10).tokens) == 30


def test_over_long_target_is_cut_and_counted_apart():
    sequence = assemble(ASR.training(sample(2, 15), VOCABULARY), VOCABULARY, 30, 10)
    assert (sequence.cut, sequence.cut_target) == (0, 5)
    assert sequence.tokens[-1] == VOCABULARY.id("<text_end>")


def test_of_several_conditions_the_longest_are_cut():
    segments = [
        Segment("image", np.zeros(3, int)),
        Segment("speech", np.zeros(20, int)),
        Segment("text", [1, 2]),
    ]
    sequence = assemble(segments, VOCABULARY, 16, 5)
    assert sequence.cut == 15
    assert [(sequence.kinds == kind).sum() for kind in (IMAGE, SPEECH, TEXT)] == [3, 5, 2]


def test_no_room_for_the_condition_is_an_input_error():
    with pytest.raises(InputError, match="leaves no room"):
        assemble(ASR.prompt(sample(5, 0), VOCABULARY), VOCABULARY, 12, 10)


def test_a_piece_outside_the_vocabulary_is_an_input_error():
    with pytest.raises(InputError, match="outside"):
        assemble([Segment("speech", [20])], VOCABULARY, 30, 10)


def test_special_that_is_never_a_target_has_kind_none():
    sequence = assemble([special("<asr>"), Segment("text", [3])], VOCABULARY, 30, 10)
    assert sequence.kinds.tolist() == [0, TEXT]


def test_a_new_task_is_one_class():
    class Tts(Template):
        name, condition_kind, target_kind, end_token = "test_tts", "text", "speech", "<speech_end>"

        def prompt(self, sample, vocabulary):
            return [Segment("text", sample["text"]), special("<text_end>")]

    try:
        sequence = assemble(TEMPLATES["test_tts"].training(sample(2, 2), VOCABULARY), VOCABULARY, 30, 10)
        assert sequence.tokens.tolist() == [0, 1, 10, 12, 13, 11]
        assert sequence.kinds.tolist() == [TEXT, TEXT, 0, SPEECH, SPEECH, SPEECH]
    finally:
        del TEMPLATES["test_tts"]


def test_unknown_template_names_the_known_ones():
    with pytest.raises(InputError, match="known: asr_sld"):
        get_template("asr_sdl")
