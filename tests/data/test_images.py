"""Images from their files to batches: sources, split, labels, captions; resumed, refused, shared by hosts."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import jaxssl.data.preparing.images as prepare_module
from jaxssl.data.images import Images, open_images
from jaxssl.data.prepared.image_manifest import NO_LABEL, read_image_manifest
from jaxssl.data.prepared.manifest import partial_of
from jaxssl.data.preparing.images import Captions, PrepareImages, prepare_images
from jaxssl.data.progress import TextProgress
from jaxssl.data.rows import Rows
from jaxssl.data.sources.images import (
    CaptionedImages,
    Digits,
    ImageArrays,
    ImageFiles,
    image_source_from_path,
)
from jaxssl.errors import InputError
from tests.data.tiny_corpus import write_vocabulary
from tests.data.tiny_images import write_folder, zip_of

QUIET = TextProgress(silent=True)


def config_of(folder, **changes):
    source = ImageFiles(str(folder / "images"))
    small = {"height": 8, "width": 6, "valid": 0.3, "workers": 1, "shard_bytes": 800}
    return PrepareImages(**{"source": source, **small, **changes})


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "images")
    return tmp_path


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_batches(reader):
    return [reader.batch(step) for step in range(reader.batches)]


def test_every_image_comes_once_with_its_label(folder):
    manifest = prepare_images(config_of(folder), folder / "set", QUIET)
    assert manifest.labels == ("cat", "dog")
    assert manifest == read_image_manifest(folder / "set")
    found = {}
    for split in ("train", "valid"):
        reader = open_images(Images(str(folder / "set"), 5), split, seed=0, shuffle=False)
        assert (reader.spec.height, reader.spec.width, reader.spec.channels) == (8, 6, 3)
        assert reader.spec.classes == 2
        labels = np.concatenate([batch["labels"] for batch in all_batches(reader)])
        pixels = np.concatenate([batch["images"] for batch in all_batches(reader)])
        assert pixels.dtype == np.uint8
        assert pixels.shape == (5 * reader.batches, 8, 6, 3)
        # the last batch is filled up with the first images again, which count for no label
        np.testing.assert_array_equal(labels[reader.rows :], NO_LABEL)
        again = np.arange(reader.rows, len(pixels)) % reader.rows
        np.testing.assert_array_equal(pixels[reader.rows :], pixels[again])
        names = reader.documents(np.arange(reader.rows))
        found |= dict(zip(names, labels[: reader.rows].tolist(), strict=True))
    files = sorted(p.relative_to(folder / "images") for p in (folder / "images").glob("*/*"))
    assert found == {file.as_posix(): ("cat", "dog").index(file.parts[0]) for file in files}


def test_folder_and_zip_and_any_number_of_workers_give_the_same_bytes(folder):
    prepare_images(config_of(folder), folder / "one", QUIET)
    zipped = ImageFiles(str(zip_of(folder / "images", folder / "images.zip")))
    prepare_images(config_of(folder, source=zipped, workers=2), folder / "two", QUIET)
    one, two = content(folder / "one"), content(folder / "two")
    assert one.keys() == two.keys()
    assert {name for name in one if one[name] != two[name]} == {"manifest.json"}  # the source
    first, second = (read_image_manifest(folder / name) for name in ("one", "two"))
    assert first.fingerprint == second.fingerprint


def test_goes_on_where_it_stopped(folder, monkeypatch):
    config, written = config_of(folder), []
    prepare_images(config, folder / "undisturbed", QUIET)

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
        prepare_images(config, folder / "set", QUIET)
    with pytest.raises(InputError, match="half-written"):
        read_image_manifest(folder / "set")
    with pytest.raises(InputError, match="height: 8 -> 4"):
        prepare_images(dataclasses.replace(config, height=4), folder / "set", QUIET)
    shard = next(partial_of(folder / "set").glob("units/*.array_record"))
    shard.write_bytes(shard.read_bytes()[:-1])  # is written again
    monkeypatch.setattr(prepare_module, "write_units", counts)
    manifest = prepare_images(config, folder / "set", QUIET)
    assert len(written) == sum(map(len, manifest.splits.values())) + 1
    assert content(folder / "set") == content(folder / "undisturbed")
    monkeypatch.setattr(ImageFiles, "pictures", lambda *_: 1 / 0)  # nothing is read again
    assert prepare_images(config, folder / "set", QUIET) == manifest


def test_broken_images_are_named_and_left_out_by_choice(folder):
    (folder / "images" / "cat" / "05.JPG").write_bytes(b"\xff\xd8 torn")
    config = config_of(folder)
    with pytest.raises(
        InputError, match="image cat/05.JPG cannot be decoded: .*set on_broken to 'skip'"
    ):
        prepare_images(config, folder / "set", QUIET)
    skipping = dataclasses.replace(config, on_broken="skip")  # goes on in the same folder
    manifest = prepare_images(skipping, folder / "set", QUIET)
    assert manifest.skipped == ["cat/05.JPG"]
    assert manifest.total("train", "rows") + manifest.total("valid", "rows") == 23


def test_shuffled_batches_do_not_depend_on_hosts(folder):
    prepare_images(config_of(folder), folder / "set", QUIET)
    config = Images(str(folder / "set"), 8)
    whole = open_images(config, seed=3)
    parts = [open_images(config, seed=3, parts=[range(i, i + 4)]) for i in (0, 4)]
    for step in (0, 5, 1):  # several epochs of 16 images, in any order
        joined = [reader.batch(step) for reader in parts]
        for name, array in whole.batch(step).items():
            np.testing.assert_array_equal(array, np.concatenate([part[name] for part in joined]))
    assert whole.fingerprint != open_images(config, seed=4).fingerprint


def test_image_text_pairs(folder):
    vocabulary = write_vocabulary(folder)
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
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = CaptionedImages(str(folder / "captions.jsonl"), str(folder / "images"))
    config = config_of(folder, source=source, captions=Captions(vocabulary, length=8))
    manifest = prepare_images(config, folder / "set", QUIET)
    assert manifest.labels == ()
    assert sum(manifest.total(split, "cut") for split in manifest.splits) == 2 * 6  # 7 to 12 words
    for split in ("train", "valid"):
        reader = Images(str(folder / "set"), 4).open(split, seed=0, shuffle=False)
        text = reader.spec.captions
        assert (text.length, text.vocab_size) == (8, len(tokens))
        batch = reader.batch(0)
        assert batch.keys() == {"images", "tokens"}
        for row, name in zip(batch["tokens"], reader.documents(reader.row_ids(0)), strict=False):
            line = lines[int(name.split("#")[1].split(":")[0]) - 1]
            ids = [tokens.index(word) for word in line["caption"].split()][:6]
            expected = [text.begin, *ids, text.end]
            assert row.tolist() == expected + [text.pad] * (8 - len(expected))
    # both captions of an image fall to the same side
    sides = [
        Images(str(folder / "set"), 4).open(s, seed=0, shuffle=False) for s in ("train", "valid")
    ]
    names = [{n.split(":")[1] for n in side.documents(np.arange(side.rows))} for side in sides]
    assert not names[0] & names[1]


def test_arrays_and_embedded_digits(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 5, 5), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(30) % 11)
    found = list(ImageArrays(str(tmp_path / "a.npz")).pictures())
    assert found[10].label == "10"
    np.testing.assert_array_equal(found[7].read(), images[7])
    config = PrepareImages(
        image_source_from_path(str(tmp_path / "a.npz")), 5, 5, 1, valid=0.5, workers=1
    )
    assert prepare_images(config, tmp_path / "set", QUIET).labels[-2:] == ("9", "10")  # as numbers
    np.save(tmp_path / "b.npy", images)
    assert next(ImageArrays(str(tmp_path / "b.npy")).pictures()).label is None
    np.save(tmp_path / "c.npy", images / 255)
    with pytest.raises(InputError, match="images are uint8"):
        next(ImageArrays(str(tmp_path / "c.npy")).pictures())
    pytest.importorskip("sklearn")
    digits = list(Digits().pictures())
    assert len(digits) == 1797
    assert digits[0].read().max() == 239  # 15 of 16
    assert len(list(image_source_from_path("photographs").pictures())) == 2 * 23 * 37


def test_a_run_remembers_its_images(folder):
    config = config_of(folder)
    prepare_images(config, folder / "set", QUIET)
    data = Images(str(folder / "set"), 8)
    reader = data.open(seed=0)
    (folder / "run").mkdir()
    reader.save_spec(folder / "run")
    spec, tokenizer = data.read_spec(folder / "run")
    assert (spec.height, spec.width, spec.channels, spec.labels) == (8, 6, 3, ("cat", "dog"))
    assert tokenizer is None
    assert spec.captions is None


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda f: config_of(f, channels=2), "must be 1 .greyscale. or 3"),
        (lambda f: config_of(f, fit="zoom"), "use 'crop', 'pad' or 'stretch'"),
        (lambda f: config_of(f, valid=1.5), "must be a fraction"),
        (lambda f: Captions(length=2), "no room for a token"),
        (lambda f: list(ImageFiles(str(f / "nowhere")).pictures()), "does not exist"),
        (lambda f: list(ImageFiles(str(f / "images" / "notes.txt")).pictures()), "no JPEG or PNG"),
        (lambda f: Images("x", batch=0), "batch=0 must be at least 1"),
        (lambda f: Images(str(f / "nowhere")).open(seed=0), "nowhere"),
    ],
)
def test_bad_input(folder, make, line):
    with pytest.raises(InputError, match=line):
        make(folder)


def test_text_and_images_are_told_apart(folder):
    prepare_images(config_of(folder), folder / "set", QUIET)
    with pytest.raises(InputError, match=r"holds images; read it with data=Images"):
        Rows(str(folder / "set")).open(seed=0)
