"""Reading images: every one once with its label, on any number of hosts; a run remembers what it read."""

import json

import numpy as np
import pytest

from jaxssl.data.images import Images, ImageSpec, open_images
from jaxssl.data.prepared.image_manifest import NO_LABEL, read_image_manifest
from jaxssl.data.preparing.images import Captions, prepare_images
from jaxssl.data.progress import TextProgress
from jaxssl.data.rows import TextSpec
from jaxssl.data.sources.images import CaptionedImages
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from tests.data.tiny_corpus import write_vocabulary
from tests.data.tiny_images import config_of

QUIET = TextProgress(silent=True)


def all_batches(reader):
    return [reader.batch(step) for step in range(reader.batches)]


def test_every_image_comes_once_with_its_label(image_folder):
    manifest = prepare_images(config_of(image_folder), image_folder / "set", QUIET)
    assert manifest.labels == ("cat", "dog")
    assert manifest == read_image_manifest(image_folder / "set")
    found = {}
    for split in ("train", "valid"):
        reader = open_images(Images(str(image_folder / "set"), 5), split, seed=0, shuffle=False)
        assert (reader.spec.height, reader.spec.width, reader.spec.channels) == (8, 6, 3)
        assert reader.spec.classes == 2
        labels = np.concatenate([batch["labels"] for batch in all_batches(reader)])
        pixels = np.concatenate([batch["images"] for batch in all_batches(reader)])
        assert pixels.dtype == np.uint8
        assert pixels.shape == (5 * reader.batches, 8, 6, 3)
        # the last batch is filled up with the first images again, which count for no label
        np.testing.assert_array_equal(labels[reader.rows :], NO_LABEL)
        real = np.concatenate([batch["real"] for batch in all_batches(reader)])
        np.testing.assert_array_equal(real, np.arange(len(real)) < reader.rows)
        again = np.arange(reader.rows, len(pixels)) % reader.rows
        np.testing.assert_array_equal(pixels[reader.rows :], pixels[again])
        names = reader.documents(np.arange(reader.rows))
        found |= dict(zip(names, labels[: reader.rows].tolist(), strict=True))
    files = sorted(
        p.relative_to(image_folder / "images") for p in (image_folder / "images").glob("*/*")
    )
    assert found == {file.as_posix(): ("cat", "dog").index(file.parts[0]) for file in files}


def test_shuffled_batches_do_not_depend_on_hosts(image_folder):
    prepare_images(config_of(image_folder), image_folder / "set", QUIET)
    config = Images(str(image_folder / "set"), 8)
    whole = open_images(config, seed=3)
    parts = [open_images(config, seed=3, parts=[range(i, i + 4)]) for i in (0, 4)]
    for step in (0, 5, 1):  # several epochs of 16 images, in any order
        joined = [reader.batch(step) for reader in parts]
        for name, array in whole.batch(step).items():
            np.testing.assert_array_equal(array, np.concatenate([part[name] for part in joined]))
    assert whole.fingerprint != open_images(config, seed=4).fingerprint


def test_a_run_remembers_its_images(image_folder):
    config = config_of(image_folder)
    prepare_images(config, image_folder / "set", QUIET)
    data = Images(str(image_folder / "set"), 8)
    reader = data.open(seed=0)
    (image_folder / "run").mkdir()
    reader.save_spec(image_folder / "run")
    spec, tokenizer = data.read_spec(image_folder / "run")
    assert (spec.height, spec.width, spec.channels, spec.labels) == (8, 6, 3, ("cat", "dog"))
    assert tokenizer is None
    assert spec.captions is None


def test_a_run_remembers_captions(image_folder):
    names = sorted(
        path.relative_to(image_folder / "images") for path in image_folder.glob("images/*/*")
    )
    lines = [json.dumps({"image": name.as_posix(), "caption": "ban"}) for name in names]
    (image_folder / "captions.jsonl").write_text("\n".join(lines))
    source = CaptionedImages(str(image_folder / "captions.jsonl"), str(image_folder / "images"))
    captions = Captions(write_vocabulary(image_folder), length=8)
    prepare_images(
        config_of(image_folder, source=source, captions=captions), image_folder / "set", QUIET
    )
    reader = Images(str(image_folder / "set"), 8).open(seed=0)
    (image_folder / "run").mkdir()
    reader.save_spec(image_folder / "run")
    spec, tokenizer = Images("elsewhere", 4).read_spec(image_folder / "run")
    assert tokenizer.fingerprint == reader.tokenizer.fingerprint
    assert (spec.batch, spec.captions.length, spec.captions.vocab_size) == (4, 8, 105)
    assert spec.labels == ()


def test_the_shape_in_words(tmp_path):
    spec = ImageSpec(5, 8, 6, 1, labels=("cat", "dog"))
    assert (spec.unit, spec.units, spec.classes) == ("images", 5, 2)
    assert spec.in_words == "8x6x1 pixels, 2 labels"
    tokenizer = load_tokenizer(write_vocabulary(tmp_path))
    captions = TextSpec.of(tokenizer, batch=5, length=7)
    with_captions = ImageSpec(5, 8, 6, 3, captions=captions)
    assert with_captions.in_words == "8x6x3 pixels, captions of 7 tokens, vocabulary 105"


def test_sets_of_another_shape_do_not_mix(image_folder):
    prepare_images(config_of(image_folder), image_folder / "a", QUIET)
    prepare_images(config_of(image_folder, height=4), image_folder / "b", QUIET)
    both = Images((str(image_folder / "a"), str(image_folder / "b")))
    with pytest.raises(InputError, match="b has height 4 and .*a has 8; prepare them alike"):
        both.open(seed=0)


def test_a_missing_set(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        Images(str(tmp_path / "nowhere")).open(seed=0)


GOOD = {"height": 8, "width": 6, "channels": 3, "labels": ["cat"], "length": 0}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "cannot be read"),
        ("[]", "is"),
        ("{}", "is missing"),
        (json.dumps(GOOD)[:20], "cannot be read"),
        (json.dumps({**GOOD, "height": "8"}), "height is '8', expected a whole number"),
        (json.dumps({**GOOD, "width": -6}), "width is -6"),
        (json.dumps({**GOOD, "channels": 2}), "channels is 2"),
        (json.dumps({**GOOD, "labels": 5}), "labels is 5, expected a list"),
        (json.dumps({**GOOD, "labels": [None]}), r"labels\[0\] is null"),
        (json.dumps({**GOOD, "length": 10**9}), "length is 1000000000"),
        (json.dumps({**GOOD, "length": None}), "length is null"),
        (json.dumps({**GOOD, "extra": 1}), "extra"),
    ],
)
def test_a_damaged_description_is_told_in_one_line(tmp_path, content, line):
    (tmp_path / "images.json").write_text(json.dumps(GOOD))
    assert Images("elsewhere", 4).read_spec(tmp_path)[0].labels == ("cat",)
    (tmp_path / "images.json").write_text(content)
    with pytest.raises(InputError, match=rf"images\.json.*{line}"):
        Images("elsewhere", 4).read_spec(tmp_path)
