"""The host side: text and images from their files to batches of numpy arrays. Never imports JAX.

    sources/       where text and images come from: files, archives, TensorFlow Datasets
    tokenizers/    training, loading and running tokenizers
    preparing/     sources to a prepared set: a folder of shards that training reads
    prepared/      the format of a prepared set, and random access to its rows
    stores/        object stores, the local cache of their shards, JSON files
    labelled/      labelled texts for finetuning, as batches
    reader.py      what reading rows and reading images share; rows.py, images.py: the two kinds

The names below load their module when they are first used, so `import jaxssl.data` itself is light.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxssl import show_fields

if TYPE_CHECKING:
    from jaxssl.data.images import ImageReader, Images, ImageSpec, open_images
    from jaxssl.data.labelled.tables import Labelled
    from jaxssl.data.labelled.texts import LabelledData, open_labelled
    from jaxssl.data.preparing.images import Captions, PrepareImages, prepare_images
    from jaxssl.data.preparing.texts import Prepare, prepare
    from jaxssl.data.rows import RowReader, Rows, TextSpec, open_rows
    from jaxssl.data.sources.images import (
        CaptionedImages,
        Digits,
        ImageArrays,
        ImageFiles,
        ImageSource,
        Photographs,
        Picture,
        TensorflowImages,
    )
    from jaxssl.data.sources.texts import (
        Document,
        JsonLines,
        Parquet,
        Source,
        StandardLibrary,
        TensorflowDataset,
        TextFiles,
    )
    from jaxssl.data.tokenizers.load import load_tokenizer
    from jaxssl.data.tokenizers.tokenizer import Tokenizer
    from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece

__all__ = [
    "CaptionedImages",
    "Captions",
    "Digits",
    "Document",
    "ImageArrays",
    "ImageFiles",
    "ImageReader",
    "ImageSource",
    "ImageSpec",
    "Images",
    "JsonLines",
    "Labelled",
    "LabelledData",
    "Parquet",
    "Photographs",
    "Picture",
    "Prepare",
    "PrepareImages",
    "RowReader",
    "Rows",
    "SentencePiece",
    "Source",
    "StandardLibrary",
    "TensorflowDataset",
    "TensorflowImages",
    "TextFiles",
    "TextSpec",
    "Tokenizer",
    "load_tokenizer",
    "open_images",
    "open_labelled",
    "open_rows",
    "prepare",
    "prepare_images",
    "train_sentencepiece",
]

_MODULES = {
    "images": ("ImageReader", "Images", "ImageSpec", "open_images"),
    "labelled.tables": ("Labelled",),
    "labelled.texts": ("LabelledData", "open_labelled"),
    "preparing.images": ("Captions", "PrepareImages", "prepare_images"),
    "preparing.texts": ("Prepare", "prepare"),
    "rows": ("RowReader", "Rows", "TextSpec", "open_rows"),
    "sources.images": (
        "CaptionedImages",
        "Digits",
        "ImageArrays",
        "ImageFiles",
        "ImageSource",
        "Photographs",
        "Picture",
        "TensorflowImages",
    ),
    "sources.texts": (
        "Document",
        "JsonLines",
        "Parquet",
        "Source",
        "StandardLibrary",
        "TensorflowDataset",
        "TextFiles",
    ),
    "tokenizers.load": ("load_tokenizer",),
    "tokenizers.tokenizer": ("Tokenizer",),
    "tokenizers.train_tokenizer": ("SentencePiece", "train_sentencepiece"),
}


def __getattr__(name: str) -> Any:
    """Imports the module of a public name when the name is first used."""
    for module, names in _MODULES.items():
        if name in names:
            found = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            show_fields([found])
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
