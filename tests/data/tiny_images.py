"""Tiny images of every kind that there is, for tests of the data package."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from jaxssl.data.preparing.images import PrepareImages
from jaxssl.data.sources.images import ImageFiles

KINDS = ("L", "LA", "P", "RGB", "RGBA", "CMYK", "1", "I;16")


def picture(mode: str, seed: int = 0, height: int = 9, width: int = 7) -> Image.Image:
    """A smooth image of a mode."""
    down, across = np.mgrid[0:height, 0:width]
    planes = [(20 * seed + 9 * down + k * across) % 256 for k in (5, 11, 17)]
    image = Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def write_folder(
    folder: Path, per_label: int = 12, labels: tuple[str, ...] = ("cat", "dog")
) -> Path:
    """LABEL/NAME of small JPEG and PNG files."""
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for i in range(per_label):
            kind, suffix = (("PNG", "png"), ("JPEG", "JPG"))[i % 2]
            content = encoded(picture("RGB", 2 * i + number), kind)
            (folder / label / f"{i:02d}.{suffix}").write_bytes(content)
    (folder / "notes.txt").write_text("no image")
    return folder


def zip_of(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
        archive.writestr("__MACOSX/cat/._00.png", b"no image")
    return path


def config_of(folder: Path, **changes: object) -> PrepareImages:
    """How the folder of the fixture `image_folder` is prepared, to 8 x 6 pixels in small shards."""
    source = ImageFiles(str(folder / "images"))
    small = {"height": 8, "width": 6, "valid": 0.3, "workers": 1, "shard_bytes": 800}
    return PrepareImages(**{"source": source, **small, **changes})
