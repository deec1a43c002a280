"""Sets without a complete manifest: each gets one line that names the file and the way out."""

import dataclasses
import itertools
import json
import os

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

NUMBERS = itertools.count()


def change(folder, **fields):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def shard(**counts):
    """A shard of one row, unless `counts` says otherwise."""
    zero = dict.fromkeys(("pieces", "documents", "empty", "tokens", "characters", "bytes"), 0)
    number = next(NUMBERS)
    names = {"file": f"a{number}", "documents_file": f"b{number}"}
    names |= {"sha256": "0" * 64, "documents_sha256": "1" * 64}
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
        tokenizer="2" * 64,
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
    names = {"file": "a", "documents_file": "b", "sha256": "0", "documents_sha256": "1"}
    manifest = dataclasses.replace(manifest_of(shard(**names)), tokenizer="print")
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
    with pytest.raises(InputError, match=r"field colour is unknown.*prepare the set anew"):
        read_manifest(folder)


WRONG = {
    "length": ["32", None, -1, 0, 10**9, 1.5, True, [32], -32],
    "dtype": ["O", "float32", "evil", "uint8", "", None, 5, ">u2", "(2,)u2", "M8[s]"],
    "vocab_size": [0, -1, 10**19, None, "x", 70_000],
    "pad": [99_999, -1, None, 1.0],
    "begin": [10**6],
    "tokenizer": [None, "", 5, "../x", "0" * 63],
    "splits": [[], None, "abc", 5, {"train": None}, {"train": {}}, {"train": [1]}, {"train": "ab"}],
    "format": ["1", 1.0, True, None],
    "config": [None, [], 5],
    "skipped": [None, "x", -1],
}
WRONG_SHARD = {
    "file": ["../../x", "/etc/passwd", "", ".", 5, None, "a\0b", "x" * 5000, ["a"], "a/b"],
    "documents_file": ["", 5, "/etc/passwd", None, ".."],
    "rows": [-1, 10**18, 10**30, "5", None, 1.5, -32],
    "sha256": ["", None, 5, "../../etc/passwd", "A" * 64],
    "documents_sha256": [None, ""],
    "tokens": [None, "x", -5],
    "documents": [None],
    "bytes": ["x"],
}
WRONG_TEXT = {
    "empty": b"",
    "binary": bytes(range(256)),
    "list": b"[]",
    "null": b"null",
    "deep": b"[" * 200_000,
    "utf16": "{}".encode("utf-16"),
    "digits": b'{"format": ' + b"9" * 6000 + b"}",
    "not a number": b'{"format": NaN}',
}


def refused(folder):
    """The message with which the manifest of a folder is refused, which is one short line."""
    with pytest.raises(InputError) as told:
        read_manifest(folder)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400
    return str(told.value)


def test_values_of_a_wrong_type_or_range_are_refused_by_name(folder):
    path = folder / "manifest.json"
    whole = json.loads(path.read_text())
    first, *others = whole["splits"]["train"]
    for name, values in WRONG.items():
        for value in values:
            path.write_text(json.dumps({**whole, name: value}))
            assert name.removesuffix("s") in refused(folder), (name, value)
    for name, values in WRONG_SHARD.items():
        for value in values:
            splits = {**whole["splits"], "train": [{**first, name: value}, *others]}
            path.write_text(json.dumps({**whole, "splits": splits}))
            message = refused(folder)
            # 10**18 rows pass for a count, and are compared with the size of the file when it is opened.
            assert f"train[0].{name} is " in message or "digits is too large" in message, (
                name,
                value,
            )
    for name in whole:
        path.write_text(json.dumps({key: whole[key] for key in whole if key != name}))
        if name != "format":  # has a default, but tells a manifest from other files
            assert "manifest" in refused(folder)
    for text in WRONG_TEXT.values():
        path.write_bytes(text)
        assert str(path) in refused(folder)


def test_a_shard_that_is_listed_twice(folder):
    whole = json.loads((folder / "manifest.json").read_text())
    change(folder, splits={"train": 2 * whole["splits"]["train"][:1]})
    assert "twice" in refused(folder)


def test_a_manifest_that_is_no_file(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    assert "manifest.json is missing" in refused(folder)
    (folder / "manifest.json").rmdir()
    os.mkfifo(folder / "manifest.json")
    assert "manifest.json is missing" in refused(folder)


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
