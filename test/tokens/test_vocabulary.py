"""The joint id space: ranges do not overlap, ids come back, what is outside is refused."""

import numpy as np
import pytest

from espnet_sld.errors import InputError
from espnet_sld.tokens.vocabulary import Vocabulary

SLD = Vocabulary(text=50257, speech=6000)


def test_ids_are_those_of_the_released_model():
    assert (SLD.range("text"), SLD.id("<text_end>"), SLD.id("<speech_end>")) == (range(50257), 50257, 50258)
    assert SLD.to_joint("speech", [0, 5999]).tolist() == [50259, 56258]
    assert SLD.size == 56259


def test_every_id_belongs_to_exactly_one_name_or_modality():
    vocabulary = Vocabulary(
        text=5, speech=7, image=3, specials=("<text_end>", "<speech_end>", "<asr>", "<tts>")
    )
    named = [vocabulary.id(name) for name in vocabulary.specials]
    ranged = [i for kind in ("text", "speech", "image") for i in vocabulary.range(kind)]
    assert sorted(named + ranged) == list(range(vocabulary.size))


def test_adding_image_and_tasks_moves_no_earlier_id():
    small = Vocabulary(text=5, speech=7)
    large = Vocabulary(text=5, speech=7, image=3, specials=("<text_end>", "<speech_end>", "<asr>"))
    assert all(small.range(kind) == large.range(kind) for kind in ("text", "speech"))
    assert all(small.id(name) == large.id(name) for name in small.specials)


@pytest.mark.parametrize("kind", ["text", "speech"])
def test_local_joint_local_is_the_identity(kind):
    ids = np.array([[0, 3], [2, len(SLD.range(kind)) - 1]])
    joint = SLD.to_joint(kind, ids)
    assert joint.dtype == np.int64
    np.testing.assert_array_equal(SLD.to_local(kind, joint), ids)


def test_ids_of_another_modality_are_refused():
    with pytest.raises(InputError, match="6000 is outside"):
        SLD.to_joint("speech", [6000])
    with pytest.raises(InputError, match="not a text token"):
        SLD.to_local("text", [50257])
    with pytest.raises(InputError, match="no special token"):
        SLD.id("<nothing>")
    with pytest.raises(InputError, match="no modality"):
        SLD.range("smell")


def test_dictionary_round_trip():
    vocabulary = Vocabulary(text=5, speech=7, image=3, specials=("<text_end>", "<speech_end>", "<asr>"))
    assert Vocabulary.from_dict(vocabulary.as_dict()) == vocabulary
    assert Vocabulary.from_dict(SLD.as_dict()).as_dict() != vocabulary.as_dict()
