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

SHARD = ImageShard("a", "b", 7, ("x.jpg",), 2, "0", "1")


def manifest_of(**changes):
    fields = {
        "height": 8,
        "width": 6,
        "channels": 3,
        "labels": ("cat", "dog"),
        "length": 4,
        "dtype": "uint16",
        "tokenizer": "print",
        "splits": {"train": (SHARD, SHARD), "valid": (SHARD,)},
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
    with pytest.raises(InputError, match=r"not whole .*cut"):
        read_image_manifest(tmp_path)
