"""Preparing images: labels, captions and splits; the same bytes whoever writes; resumed and refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import jaxssl.data.preparing.images as prepare_module
from jaxssl.data.images import Images
from jaxssl.data.prepared.image_manifest import read_image_manifest
from jaxssl.data.prepared.manifest import partial_of
from jaxssl.data.preparing.images import Captions, PrepareImages, divide, list_all, prepare_images
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.images import CaptionedImages, ImageArrays, ImageFiles
from jaxssl.errors import InputError
from tests.data.tiny_corpus import write_vocabulary
from tests.data.tiny_images import config_of, zip_of

QUIET = TextProgress(silent=True)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_and_zip_and_any_number_of_workers_give_the_same_bytes(image_folder):
    prepare_images(config_of(image_folder), image_folder / "one", QUIET)
    zipped = ImageFiles(str(zip_of(image_folder / "images", image_folder / "images.zip")))
    prepare_images(config_of(image_folder, source=zipped, workers=2), image_folder / "two", QUIET)
    one, two = content(image_folder / "one"), content(image_folder / "two")
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} == {"manifest.json"}  # the source
    first, second = (read_image_manifest(image_folder / name) for name in ("one", "two"))
    assert first.fingerprint == second.fingerprint


def test_goes_on_where_it_stopped(image_folder, monkeypatch):
    config, written = config_of(image_folder), []
    prepare_images(config, image_folder / "undisturbed", QUIET)

    def stops(units, job, workers):
        for unit in units:
            if len(written) == 2:
                raise KeyboardInterrupt
            written.append(unit.number)
            yield unit, job.write(unit)

    def counts(units, job, workers):
        for unit in units:
            written.append(unit.number)
            yield unit, job.write(unit)

    monkeypatch.setattr(prepare_module, "write_units", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare_images(config, image_folder / "set", QUIET)
    with pytest.raises(InputError, match="half-written"):
        read_image_manifest(image_folder / "set")
    with pytest.raises(InputError, match="height: 8 -> 4"):
        prepare_images(dataclasses.replace(config, height=4), image_folder / "set", QUIET)
    shard = next(partial_of(image_folder / "set").glob("units/*.array_record"))
    shard.write_bytes(shard.read_bytes()[:-1])  # is written again
    monkeypatch.setattr(prepare_module, "write_units", counts)
    manifest = prepare_images(config, image_folder / "set", QUIET)
    assert len(written) == sum(map(len, manifest.splits.values())) + 1
    assert content(image_folder / "set") == content(image_folder / "undisturbed")
    monkeypatch.setattr(ImageFiles, "pictures", lambda *_: 1 / 0)  # nothing is read again
    assert prepare_images(config, image_folder / "set", QUIET) == manifest


def test_broken_images_are_named_and_left_out_by_choice(image_folder):
    (image_folder / "images" / "cat" / "05.JPG").write_bytes(b"\xff\xd8 torn")
    config = config_of(image_folder)
    with pytest.raises(
        InputError, match="image cat/05.JPG cannot be decoded: .*set on_broken to 'skip'"
    ):
        prepare_images(config, image_folder / "set", QUIET)
    skipping = dataclasses.replace(config, on_broken="skip")  # goes on in the same image_folder
    manifest = prepare_images(skipping, image_folder / "set", QUIET)
    assert manifest.skipped == ["cat/05.JPG"]
    assert manifest.total("train", "rows") + manifest.total("valid", "rows") == 23


def test_image_text_pairs(image_folder):
    vocabulary = write_vocabulary(image_folder)
    tokens = Path(vocabulary).read_text(encoding="utf-8").split()
    words = tokens[5:8]
    lines = [
        {
            "image": f"{label}/{i:02d}.{'JPG' if i % 2 else 'png'}",
            "caption": " ".join([words[i % 3]] * (1 + i)),
        }
        for label in ("cat", "dog")
        for i in range(12)
    ]
    lines.append({**lines[0], "caption": words[2]})  # a second caption of the same image
    (image_folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = CaptionedImages(str(image_folder / "captions.jsonl"), str(image_folder / "images"))
    config = config_of(image_folder, source=source, captions=Captions(vocabulary, length=8))
    images = image_folder / "images"
    assert list_all(config).notes == [f"left out of {images}: 1 of another type (notes.txt)"]
    manifest = prepare_images(config, image_folder / "set", QUIET)
    assert manifest.labels == ()
    assert sum(manifest.total(split, "cut") for split in manifest.splits) == 2 * 6  # 7 to 12 words
    for split in ("train", "valid"):
        reader = Images(str(image_folder / "set"), 4).open(split, seed=0, shuffle=False)
        text = reader.spec.captions
        assert (text.length, text.vocab_size) == (8, len(tokens))
        batch = reader.batch(0)
        assert batch.keys() == {"images", "tokens", "real"}
        for row, name in zip(batch["tokens"], reader.documents(reader.row_ids(0)), strict=False):
            line = lines[int(name.split("#")[1].split(":")[0]) - 1]
            ids = [tokens.index(word) for word in line["caption"].split()][:6]
            expected = [text.begin, *ids, text.end]
            assert row.tolist() == expected + [text.pad] * (8 - len(expected))
    # both captions of an image fall to the same side
    sides = [
        Images(str(image_folder / "set"), 4).open(s, seed=0, shuffle=False)
        for s in ("train", "valid")
    ]
    names = [{n.split(":")[1] for n in side.documents(np.arange(side.rows))} for side in sides]
    assert not names[0] & names[1]


def test_labels_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 5, 5), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(30) % 11)
    config = PrepareImages(ImageArrays(str(tmp_path / "a.npz")), 5, 5, 1, valid=0.5, workers=1)
    listing = list_all(config)
    assert (listing.images, listing.captions) == (30, [])
    assert listing.labels == tuple(str(number) for number in range(11))
    assert prepare_images(config, tmp_path / "set", QUIET).labels == listing.labels


def test_every_picture_falls_to_one_side(image_folder):
    config = config_of(image_folder)
    divided = list(divide(config, list_all(config)))
    assert sorted(picture.name for _, picture in divided) == sorted(
        picture.name for picture in config.source.pictures()
    )
    assert {split for split, _ in divided} == {"train", "valid"}
    own = config_of(image_folder, valid=ImageFiles(str(image_folder / "images" / "dog")))
    sides = [split for split, _ in divide(own, list_all(own))]
    assert (sides.count("train"), sides.count("valid")) == (24, 12)


def test_folders_that_say_what_is_held_out_are_the_split(image_folder):
    for part in ("train", "val"):
        (image_folder / "parts").mkdir(exist_ok=True)
        shutil.copytree(image_folder / "images", image_folder / "parts" / part)
    (image_folder / "parts" / "val" / "cat" / "none.png").touch()
    source = ImageFiles(str(image_folder / "parts"))
    config = config_of(image_folder, source=source)
    listing = list_all(config)
    assert listing.notes == [
        f"left out of {source.path}: 2 of another type (train/notes.txt, val/notes.txt)",
        "the folders say what is held out: 25 images; valid=0.3 is not used",
    ]
    sides = {(split, picture.name.split("/")[0]) for split, picture in divide(config, listing)}
    assert sides == {("train", "train"), ("valid", "val")}
    with pytest.raises(InputError, match="the source holds out images of its own"):
        list_all(config_of(image_folder, source=source, valid=source))


def test_images_without_a_label_are_counted(image_folder):
    (image_folder / "images" / "0.png").write_bytes(b"")
    notes = list_all(config_of(image_folder)).notes
    assert notes[1:] == ["1 images have no label"]
    with pytest.raises(InputError, match=r"0\.png cannot be decoded: it is empty"):
        prepare_images(config_of(image_folder), image_folder / "set", QUIET)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"channels": 2}, "must be 1 .greyscale. or 3"),
        ({"fit": "zoom"}, "use 'crop', 'pad' or 'stretch'"),
        ({"valid": 1.5}, "must be a fraction"),
        ({"on_broken": "ignore"}, "use 'stop' or 'skip'"),
        ({"height": 0}, "height=0 must be at least 1"),
        ({"width": 100_000}, "width=100000 must be at most 8192 pixels"),
    ],
)
def test_values_out_of_bounds(image_folder, changes, line):
    with pytest.raises(InputError, match=line):
        config_of(image_folder, **changes)


def test_a_caption_needs_room_for_a_token():
    with pytest.raises(InputError, match="no room for a token"):
        Captions(length=2)
    with pytest.raises(InputError, match="length=100000000 must be at most"):
        Captions(length=10**8)
