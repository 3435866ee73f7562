"""A sample's unit text and transcript → one joint sequence. Tokenizers and template come from the config."""

from argparse import Namespace
from collections.abc import Mapping

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.tokens.sequence import Sequence, assemble
from espnet_sld.tokens.subword import Tokenizer, build_text_tokenizer, build_unit_tokenizer
from espnet_sld.tokens.templates import get_template
from espnet_sld.tokens.vocabulary import Vocabulary


class SequencePreprocessor:
    """Tokenises a sample and assembles it by a template.

    Args:
        text_tokenizer, unit_tokenizer: see `tokens.subword`.
        template: name of a sequence template.
        max_positions: the backbone's positions; what is over is cut from the speech part.
        max_text: most text tokens.
        mask_token: name of the text token that pads and masks; None = the tokenizer's spare id.
    """

    def __init__(
        self,
        text_tokenizer: Tokenizer,
        unit_tokenizer: Tokenizer,
        *,
        template: str = "asr_sld",
        max_positions: int = 1024,
        max_text: int = 150,
        mask_token: str | None = None,
    ):
        self.tokenizers = {"text": text_tokenizer, "speech": unit_tokenizer}
        self.template = get_template(template)
        self.max_positions, self.max_text = max_positions, max_text
        self.vocabulary = Vocabulary(text=text_tokenizer.size, speech=unit_tokenizer.size)
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
        return cls(
            build_text_tokenizer(args.text_token_type, args.text_token_path),
            build_unit_tokenizer(args.speech_token_type, args.speech_token_path, int(args.num_clusters)),
            template=args.template,
            max_positions=args.max_positions,
            max_text=args.max_text,
            mask_token=args.mask_token,
        )

    def __call__(
        self, utterance: str, sample: Mapping[str, str], strength: float = 0.0, number: int = 0
    ) -> Sequence:
        """Sequence of one utterance; `sample` maps "speech" to unit text and "text" to the transcript.

        Args:
            strength, number: draw the segmentation of the units (see `UnitPieceTokenizer.sample`); strength 0
                takes the best one.

        Raises:
            InputError: names the utterance and what is wrong with it.
        """
        try:
            ids = {}
            for name, value in sample.items():
                tokenizer = self.tokenizers[name]
                sampled = strength > 0 and name == "speech"
                pieces = tokenizer.sample(value, strength, number) if sampled else tokenizer.encode(value)
                ids[name] = np.asarray(pieces, dtype=np.int64)
            for name, values in ids.items():
                if len(values) == 0:
                    raise InputError(f"no {name} token; drop the utterance or mend its {name}")
            return assemble(
                self.template.training(ids, self.vocabulary),
                self.vocabulary,
                self.max_positions,
                self.max_text,
            )
        except InputError as error:
            raise InputError(f"utterance {utterance}: {error}") from None
