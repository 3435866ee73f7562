"""A set of images beside Kaldi's sets of recordings: images.scp, text, captions.tsv, labels."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table, write_table


@dataclass
class ImageSet:
    """Images of one set, keyed by id; a training set may list an image several times, once a caption.

    Attributes:
        images: id → image file (PNG, JPEG, … or `.npy`).
        text: id → the caption to learn or to score by; empty as a whole for unlabelled images.
        captions: id → all its reference captions; empty as a whole where there are none.
        labels: id → the word that names its class; empty as a whole where there are none.
    """

    images: dict[str, str]
    text: dict[str, str] = field(default_factory=dict)
    captions: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def write(self, path: str | os.PathLike) -> Path:
        """Write the tables sorted and whole; tables that this set lacks are removed. images.scp comes last.

        Raises:
            InputError: a table speaks of other ids than `images`, or a caption or an id holds blanks that
                the files cannot keep.
        """
        path = Path(path)
        for name, rows in (("text", self.text), ("captions.tsv", self.captions), ("labels", self.labels)):
            if rows and set(rows) != set(self.images):
                odd = sorted(set(rows) ^ set(self.images))
                raise InputError(f"{path}: {name} and images.scp differ in {len(odd)} ids ({odd[0]}, …)")
        captions = [text for texts in self.captions.values() for text in texts]
        if bad := [text for text in [*captions, *self.text.values()] if text != " ".join(text.split())]:
            raise InputError(f"{path}: a caption has blanks other than single spaces: {bad[0]!r}")
        (path / "images.scp").unlink(missing_ok=True)
        for name, rows in (("text", self.text), ("labels", self.labels)):
            if rows:
                write_table(path / name, rows)
            else:
                (path / name).unlink(missing_ok=True)
        if self.captions:
            with atomic_write(path / "captions.tsv") as stream:
                for key in sorted(self.captions, key=str.encode):
                    stream.write("\t".join([key, *self.captions[key]]) + "\n")
        else:
            (path / "captions.tsv").unlink(missing_ok=True)
        write_table(path / "images.scp", self.images)
        return path


def read_images_scp(path: str | os.PathLike) -> dict[str, str]:
    """`images.scp`, given itself or by its directory: id → image file, sorted by id in C order.

    Raises:
        InputError: it is missing or malformed, or image files are (all of them counted, some named).
    """
    path = Path(path)
    path = path / "images.scp" if path.is_dir() else path
    images = read_table(path)
    if not images:
        raise InputError(f"{path}: lists no image")
    missing = sorted({file for file in images.values() if not Path(file).is_file()})
    if missing:
        raise InputError(
            f"{path}: {len(missing)} image files are missing ({', '.join(missing[:3])} …); "
            f"relative paths are relative to the current directory, {Path.cwd()}"
        )
    return dict(sorted(images.items(), key=lambda item: item[0].encode()))
