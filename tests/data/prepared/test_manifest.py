"""Sets without a complete manifest: each gets one line that names the file and the way out."""

import json

import numpy as np
import pytest

from jaxssl.data.prepared.manifest import (
    Manifest,
    SetManifest,
    Shard,
    is_prepared,
    partial_of,
    read_manifest,
    write_manifest,
)
from jaxssl.errors import InputError


def change(folder, **fields):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def shard(**counts):
    """A shard of one row, unless `counts` says otherwise."""
    zero = dict.fromkeys(("pieces", "documents", "empty", "tokens", "characters", "bytes"), 0)
    names = {"file": "a", "documents_file": "b", "sha256": "0", "documents_sha256": "1"}
    return Shard(**{"rows": 1, **zero, **names, **counts})


def manifest_of(*shards, length=10):
    return Manifest(
        length=length,
        dtype="uint16",
        vocab_size=20,
        pad=0,
        unknown=1,
        begin=2,
        end=3,
        mask=4,
        tokenizer="print",
        skipped=0,
        splits={"train": shards, "valid": ()},
        config={"source": "here"},
    )


def test_what_is_written_is_read_again(tmp_path):
    manifest = manifest_of(shard(tokens=7), shard(tokens=8))
    assert not is_prepared(tmp_path)
    write_manifest(manifest, tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert is_prepared(tmp_path)


def test_counts_are_summed_over_shards():
    manifest = manifest_of(shard(rows=2, tokens=7), shard(rows=3, tokens=8))
    assert (manifest.total("train", "rows"), manifest.total("train", "tokens")) == (5, 15)
    assert manifest.total("valid", "rows") == 0
    assert manifest.record == np.dtype(("u2", (10,)))


def test_utilisation_is_the_share_of_positions_that_are_not_padding():
    # Two rows of 10: a document of 5 tokens and one of 12 in two pieces, and an empty one without a piece.
    manifest = manifest_of(shard(rows=2, documents=3, empty=1, pieces=3, tokens=17))
    assert manifest.utilisation("train") == pytest.approx((17 + 3 + 2) / 20)
    assert manifest.utilisation("valid") == 0


def test_the_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        SetManifest()


def test_the_bytes_do_not_change(tmp_path):
    """Sets of earlier versions are read, and their fingerprints are those that runs have noted."""
    manifest = manifest_of(shard())
    assert manifest.fingerprint.startswith("702ebfeed7064a64")
    write_manifest(manifest, tmp_path)
    lines = (tmp_path / "manifest.json").read_text().splitlines()
    assert lines[:3] == ["{", ' "length": 10,', ' "dtype": "uint16",']
    assert lines[-2:] == [' "format": 1', "}"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist; make it with: jaxssl prepare"):
        read_manifest(tmp_path / "set")


def test_a_half_written_set(folder):
    folder.rename(partial_of(folder))
    with pytest.raises(InputError, match=r"half-written \(set\.partial is there\); run the same"):
        read_manifest(folder)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json is missing"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\x00\x01"])
def test_a_file_that_is_no_manifest(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        read_manifest(folder)


def test_another_version(folder):
    change(folder, format=99)
    with pytest.raises(InputError, match="format 99 and this version reads 1"):
        read_manifest(folder)


def test_an_unknown_field(folder):
    change(folder, colour="blue")
    with pytest.raises(InputError, match=r"not whole .*colour"):
        read_manifest(folder)


def test_a_set_of_images(folder):
    change(folder, height=8)
    with pytest.raises(InputError, match=r"holds images; read it with data=Images"):
        read_manifest(folder)


def test_the_fingerprint_is_of_the_content_alone(folder):
    before = read_manifest(folder).fingerprint
    change(folder, config={"source": "elsewhere"})
    assert read_manifest(folder).fingerprint == before
    change(folder, pad=9)
    assert read_manifest(folder).fingerprint != before
