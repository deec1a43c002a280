"""Rows of a run that may not exist yet: from a manifest, from a recipe, from arguments, or assumed."""

import dataclasses

import pytest

from jaxssl.data.images import Images
from jaxssl.data.preparing.images import Captions, PrepareImages
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.rows import Rows
from jaxssl.data.sources.images import ImageFiles
from jaxssl.data.sources.texts import TextFiles
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError
from jaxssl.planning.assumed_rows import assumed_rows
from tests.planning.tiny_runs import MASKED, SHADES


def test_images_are_those_of_arguments_or_of_the_recipe_or_assumed():
    spec, source = assumed_rows(SHADES)
    assert (spec.in_words, source) == ("224x224x3 pixels", "assumed")
    spec, source = assumed_rows(SHADES, size=(8, 6))
    assert (spec.in_words, source) == ("8x6x3 pixels", "from --size")
    captions, source = assumed_rows(SHADES, length=16)
    assert (captions.captions.length, source) == (16, "assumed, but --length")
    how = PrepareImages(ImageFiles("files"), 8, 6, channels=1, captions=Captions(length=12))
    recipe = dataclasses.replace(SHADES, data=Images("nowhere", prepare=how))
    spec, source = assumed_rows(recipe, vocab_size=64)
    assert spec.in_words == "8x6x1 pixels, captions of 12 tokens, vocabulary 64"
    assert source == "from the recipe, but --vocab-size"
    with pytest.raises(InputError, match="there are none; give length"):
        assumed_rows(SHADES, vocab_size=64)
    with pytest.raises(InputError, match="size is for images"):
        assumed_rows(MASKED, size=(8, 6))


def test_rows_are_those_of_the_manifest(tmp_path):
    (tmp_path / "a.txt").write_text("the quick brown fox jumps over a lazy dog. " * 200)
    source = TextFiles(str(tmp_path / "a.txt"))
    config = Prepare(source, length=16, tokenizer=SentencePiece(vocab_size=292), valid=source)
    prepare(dataclasses.replace(config, workers=1), str(tmp_path / "set"))
    config = dataclasses.replace(MASKED, data=Rows(str(tmp_path / "set"), batch=16))
    spec, found = assumed_rows(config)
    assert (spec.length, spec.vocab_size, found) == (16, 292, f"from {tmp_path / 'set'}")
    spec, found = assumed_rows(config, length=8)
    assert (spec.length, found) == (8, f"from {tmp_path / 'set'}, but --length")
    assert assumed_rows(config, 8, 64)[1] == "from --length and --vocab-size"
