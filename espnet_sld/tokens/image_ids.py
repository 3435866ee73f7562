"""Image tokens on disk: `image 17 4 4 501 …`, the quantiser's codes in raster order."""

from collections.abc import Sequence
from typing import Any

from espnet_sld.errors import InputError


class ImageTokenizer:
    """Codes separated by spaces ↔ ids 0 … size−1, one to one.

    Args:
        size: V_i, codes of the quantiser.
    """

    spare_id = None
    unknown_id = None

    def __init__(self, size: int):
        if size < 1:
            raise InputError(f"num_image_tokens is {size}: must be at least 1, the size of the codebook")
        self.size = size

    def encode(self, text: str) -> list[int]:
        """Ids of a line; InputError for what is no code of this codebook."""
        ids = []
        for word in text.split():
            if not (word.isascii() and word.isdigit()) or int(word) >= self.size:
                raise InputError(
                    f"'{word}' is no image token of {self.size} codes; tokenise the images again"
                )
            ids.append(int(word))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The line of some ids."""
        return " ".join(str(int(index)) for index in ids)

    def count_unknown(self, text: str) -> int:
        """0: every code is known."""
        return 0

    def token_id(self, name: str) -> int:
        """Id of a code by its number."""
        return self.encode(name)[0]

    def describe(self) -> dict[str, Any]:
        """What it is, for configurations and reports."""
        return {"type": "image", "size": self.size}
