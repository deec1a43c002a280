"""Summaries: the numbers of a manifest, as lines for a person."""

import pytest

from jaxssl.data.prepared.image_manifest import ImageManifest, ImageShard
from jaxssl.data.prepared.manifest import read_manifest
from jaxssl.data.prepared.summaries import summary_of_images, summary_of_rows
from jaxssl.errors import InputError


def test_rows_of_text(whole):
    manifest = read_manifest(whole)
    first, train, valid, tokenizer = summary_of_rows(manifest, whole).splitlines()
    shards = sum(map(len, manifest.splits.values()))
    size = sum(path.stat().st_size for path in whole.glob("*.array_record"))
    assert first == f"{whole}: rows of 32 tokens, {size / 1e6:.1f} MB in {shards} shards"
    assert [line.split()[0] for line in (train, valid)] == ["train", "valid"]
    assert f"{manifest.total('train', 'rows'):,} rows" in train
    assert tokenizer == f"  tokenizer of 105 ids in {whole}/tokenizer"


def images(tmp_path, **changes):
    """The manifest of a set whose files are empty."""
    splits = {}
    for split, rows in (("train", 1200), ("valid", 34)):
        shard = ImageShard(f"{split}.r", f"{split}.n", rows, ("a.jpg",), 5, "0", "0")
        (tmp_path / shard.file).write_bytes(b"")
        (tmp_path / shard.documents_file).write_bytes(b"")
        splits[split] = (shard,)
    fields = {"labels": ("cat", "dog"), "length": 16, "dtype": "uint16", "tokenizer": "print"}
    return ImageManifest(
        height=8, width=6, channels=3, splits=splits, config={}, **{**fields, **changes}
    )


def test_images(tmp_path):
    lines = summary_of_images(images(tmp_path), tmp_path).splitlines()
    assert lines == [
        f"{tmp_path}: images of 8x6x3, 0.0 MB in 2 shards",
        "  train       1,200 images, 5 captions cut to 16 tokens",
        "  valid          34 images, 5 captions cut to 16 tokens",
        "  2 labels: cat, dog",
        "  2 could not be decoded and were left out: a.jpg, a.jpg",
    ]


def test_many_labels_are_cut_short(tmp_path):
    many = images(tmp_path, labels=tuple("abcdefghij"), length=0)
    lines = summary_of_images(many, tmp_path).splitlines()
    assert lines[1] == "  train       1,200 images"
    assert lines[3] == "  10 labels: a, b, c, d, e, f, g, h, …"


def test_a_missing_file_is_named(tmp_path):
    manifest = images(tmp_path)
    (tmp_path / "valid.n").unlink()
    with pytest.raises(InputError, match=r"valid\.n is missing"):
        summary_of_images(manifest, tmp_path)
