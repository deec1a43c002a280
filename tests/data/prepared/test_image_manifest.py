"""The manifest of a set of images: there and back, and the type of an image on disk."""

import json

import numpy as np
import pytest

from jaxssl.data.prepared.image_manifest import (
    ImageManifest,
    ImageShard,
    read_image_manifest,
    record_of,
)
from jaxssl.data.prepared.manifest import write_manifest
from jaxssl.errors import InputError

SHARDS = tuple(ImageShard(f"a{n}", f"b{n}", 7, ("x.jpg",), 2, "0" * 64, "1" * 64) for n in range(3))


def manifest_of(**changes):
    fields = {
        "height": 8,
        "width": 6,
        "channels": 3,
        "labels": ("cat", "dog"),
        "length": 4,
        "dtype": "uint16",
        "tokenizer": "2" * 64,
        "splits": {"train": SHARDS[:2], "valid": SHARDS[2:]},
        "config": {},
    }
    return ImageManifest(**{**fields, **changes})


def test_what_is_written_is_read_again(tmp_path):
    write_manifest(manifest_of(), tmp_path)
    found = read_image_manifest(tmp_path)
    assert found == manifest_of()
    assert found.total("train", "cut") == 4
    assert found.skipped == ["x.jpg"] * 3
    assert found.fingerprint == manifest_of(config={"source": "elsewhere"}).fingerprint
    assert found.fingerprint != manifest_of(labels=("dog", "cat")).fingerprint


def test_an_image_on_disk_has_no_gaps():
    record = record_of(8, 6, 3, 4, "uint16")
    assert record == manifest_of().record
    assert record.itemsize == 8 * 6 * 3 + 4 + 4 * 2
    assert record.names == ("pixels", "label", "tokens")
    assert record["pixels"].shape == (8, 6, 3)
    assert record_of(8, 6, 1, 0, "").names == ("pixels", "label")
    assert record_of(8, 6, 1, 0, "")["label"] == np.dtype("<i4")


def test_a_set_of_text_is_refused(folder):
    with pytest.raises(InputError, match=r"holds rows of text; read it with data=Rows"):
        read_image_manifest(folder)


def test_a_missing_field_is_refused(tmp_path):
    write_manifest(manifest_of(), tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    del content["splits"]["train"][0]["cut"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"field 'cut' of splits.train\[0\] is missing"):
        read_image_manifest(tmp_path)


WRONG = {
    "height": ["12", None, -1, 0, 1.5, 10**12],
    "width": [True],
    "channels": [4, 0, None, "3", 3.0, True],
    "labels": [None, 5, "ab", [1, 2], [None, None], {}],
    "length": [-1, None, 10**9],
    "dtype": ["O", 5, None, ""],
    "tokenizer": ["", "print"],
}
WRONG_SHARD = {"rows": [-1, "x", None], "skipped": [None, 5, "ab", [5]], "cut": [None]}


def test_values_of_a_wrong_type_or_range_are_refused_by_name(tmp_path):
    write_manifest(manifest_of(), tmp_path)
    path = tmp_path / "manifest.json"
    whole = json.loads(path.read_text())
    for name, values in WRONG.items():
        for value in values:
            path.write_text(json.dumps({**whole, name: value}))
            with pytest.raises(InputError, match=name):
                read_image_manifest(tmp_path)
    for name, values in WRONG_SHARD.items():
        for value in values:
            splits = {"train": [{**whole["splits"]["train"][0], name: value}]}
            path.write_text(json.dumps({**whole, "splits": splits}))
            with pytest.raises(InputError, match=rf"train\[0\]\.{name}"):
                read_image_manifest(tmp_path)


def test_an_image_that_no_memory_holds(tmp_path):
    with pytest.raises(InputError, match="bytes is above the limit"):
        manifest_of(height=1 << 20, width=1 << 20)


def test_a_set_of_an_earlier_version_has_no_labels(tmp_path):
    write_manifest(manifest_of(), tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    del content["labels"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert read_image_manifest(tmp_path).labels == ()


def test_labels_that_the_set_does_not_have():
    records = np.zeros(3, manifest_of().record)
    for numbers, problem in (
        ([0, 1, -1], ""),
        ([0, 2, 0], "number 2 of 2"),
        ([0, 0, -2], "number -2"),
    ):
        records["label"] = numbers
        assert problem in manifest_of().problem_in(records)
    assert manifest_of(labels=()).problem_in(records[:1]) == ""
