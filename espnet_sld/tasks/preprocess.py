"""A sample's strings → one joint sequence. Tokenizers and template come from the config."""

import copy
from argparse import Namespace
from collections.abc import Mapping
from collections.abc import Sequence as Items

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.tasks.mixture_file import read_mixture
from espnet_sld.tokens.image_ids import ImageTokenizer
from espnet_sld.tokens.limits import Limits
from espnet_sld.tokens.sequence import Sequence, assemble
from espnet_sld.tokens.subword import Tokenizer, build_text_tokenizer, build_unit_tokenizer
from espnet_sld.tokens.templates import Template, get_template
from espnet_sld.tokens.vocabulary import SPEECH_END, TEXT_END, Vocabulary


class SequencePreprocessor:
    """Tokenises a sample and assembles it by a template.

    Args:
        text_tokenizer, unit_tokenizer: see `tokens.subword`.
        template: a sequence template, or its name.
        max_positions: the backbone's positions; what is over is cut from the condition (the speech part).
        max_text: most text tokens. max_speech, max_image: see `Limits`.
        mask_token: name of the text token that pads and masks; None = the tokenizer's spare id.
        image_tokenizer: of image tokens; None = the vocabulary has none.
        specials: special tokens of the vocabulary, the two end tokens between text and speech first.
    """

    def __init__(
        self,
        text_tokenizer: Tokenizer,
        unit_tokenizer: Tokenizer,
        *,
        template: str | Template = "asr_sld",
        max_positions: int = 1024,
        max_text: int = 150,
        max_speech: int | None = None,
        max_image: int | None = None,
        mask_token: str | None = None,
        image_tokenizer: Tokenizer | None = None,
        specials: Items[str] = (TEXT_END, SPEECH_END),
    ):
        self.tokenizers = {"text": text_tokenizer, "speech": unit_tokenizer}
        if image_tokenizer is not None:
            self.tokenizers["image"] = image_tokenizer
        self.template = get_template(template) if isinstance(template, str) else template
        self.limits = Limits(max_positions, max_text, max_speech, max_image)
        self.vocabulary = Vocabulary(
            text=text_tokenizer.size,
            speech=unit_tokenizer.size,
            image=0 if image_tokenizer is None else image_tokenizer.size,
            specials=specials,
        )
        if mask_token is not None:
            self.pad_id = text_tokenizer.token_id(mask_token)
        elif text_tokenizer.spare_id is not None:
            self.pad_id = text_tokenizer.spare_id
        else:
            raise InputError("the text tokenizer has no spare token to pad with; name one with --mask_token")

    @classmethod
    def from_args(cls, args: Namespace) -> "SequencePreprocessor":
        """Build from the task's options (see `options.add_sequence_arguments`)."""
        missing = [
            name
            for name in ("text_token_type", "text_token_path", "speech_token_type")
            if not getattr(args, name)
        ]
        if not args.num_clusters:
            missing.append("num_clusters")
        if missing:
            raise InputError(f"missing option: {', '.join(f'--{name}' for name in missing)}")
        codes = getattr(args, "num_image_tokens", None)
        mixture = getattr(args, "mixture", None)
        specials = {"specials": read_mixture(mixture).specials} if mixture else {}
        return cls(
            build_text_tokenizer(args.text_token_type, args.text_token_path),
            build_unit_tokenizer(args.speech_token_type, args.speech_token_path, int(args.num_clusters)),
            template=args.template,
            max_positions=args.max_positions,
            max_text=args.max_text,
            max_speech=getattr(args, "max_speech", None),
            max_image=getattr(args, "max_image", None),
            mask_token=args.mask_token,
            image_tokenizer=ImageTokenizer(int(codes)) if codes else None,
            **specials,
        )

    @property
    def max_positions(self) -> int:
        """Most tokens of a sequence."""
        return self.limits.max_positions

    @property
    def max_target(self) -> int:
        """Most target tokens of the template."""
        return self.limits.target(self.template)

    def with_template(self, template: Template) -> "SequencePreprocessor":
        """The same tokenizers and limits for another template.

        Raises:
            InputError: the template has a modality that has no tokenizer.
        """
        absent = set(template.fields.values()) - set(self.tokenizers)
        if absent:
            raise InputError(f"task {template.name} needs {absent.pop()} tokens; give --num_image_tokens")
        changed = copy.copy(self)
        changed.template = template
        return changed

    def __call__(
        self, utterance: str, sample: Mapping[str, str], strength: float = 0.0, number: int = 0
    ) -> Sequence:
        """Sequence of one utterance; `sample` maps the template's fields to strings ("speech": unit text).

        Args:
            strength, number: draw the segmentation of the units (see `UnitPieceTokenizer.sample`); strength 0
                takes the best one.

        Raises:
            InputError: names the utterance and what is wrong with it.
        """
        try:
            ids = {}
            for name, value in sample.items():
                kind = self.template.fields[name]
                tokenizer = self.tokenizers[kind]
                sampled = strength > 0 and kind == "speech"
                pieces = tokenizer.sample(value, strength, number) if sampled else tokenizer.encode(value)
                ids[name] = np.asarray(pieces, dtype=np.int64)
            for name, values in ids.items():
                if len(values) == 0:
                    raise InputError(f"no {name} token; drop the utterance or mend its {name}")
            return assemble(
                self.template.training(ids, self.vocabulary),
                self.vocabulary,
                self.max_positions,
                self.max_target,
            )
        except InputError as error:
            raise InputError(f"utterance {utterance}: {error}") from None
