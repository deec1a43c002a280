"""Rows by id, over shards and sets; few open files are enough; what cannot be read is named."""

import dataclasses

import numpy as np
import pytest

from jaxssl.data.prepared import shards as shards_module
from jaxssl.data.prepared.manifest import read_manifest
from jaxssl.data.prepared.shards import LocalShards, RowFiles, in_gib
from jaxssl.errors import InputError


def no_cache():
    raise AssertionError("a local set needs no cache")


def files_of(folder, *, sets=1):
    manifest = read_manifest(folder)
    return RowFiles([str(folder)] * sets, [manifest] * sets, "train", no_cache)


def test_rows_come_in_the_order_of_their_ids(whole):
    files = files_of(whole)
    everything = files.read(np.arange(files.rows))
    assert everything.shape == (files.rows, 32)
    assert everything.dtype == np.uint16
    ids = np.random.default_rng(0).integers(0, files.rows, 50)  # also some twice
    np.testing.assert_array_equal(files.read(ids), everything[ids])
    assert files.read(np.array([], np.int64)).shape == (0, 32)


def test_ids_count_through_sets(whole):
    one, two = files_of(whole), files_of(whole, sets=2)
    assert two.set_rows == [one.rows, one.rows]
    assert (two.rows, two.stored_bytes) == (2 * one.rows, 0)
    ids = np.array([0, one.rows, 5, one.rows + 5])
    np.testing.assert_array_equal(two.read(ids), one.read(ids % one.rows))
    assert two.documents([one.rows]) == [f"{whole}:{name}" for name in one.documents([0])]


@pytest.mark.parametrize("id", [-1, 10_000])
def test_an_id_without_a_row(whole, id):
    with pytest.raises(IndexError, match="row ids must be 0 to"):
        files_of(whole).read(np.array([0, id]))


def test_one_open_file_is_enough(whole, monkeypatch):
    expected = files_of(whole).read(np.arange(40))
    monkeypatch.setattr(shards_module, "OPEN_FILES", 1)
    files = files_of(whole)
    np.testing.assert_array_equal([files.read(np.array([i]))[0] for i in range(40)], expected)


def test_the_least_recently_used_file_is_closed(whole):
    shards = LocalShards(str(whole), open_files=2)
    a, b, c = read_manifest(whole).splits["train"][:3]
    first, second = shards.reader(a), shards.reader(b)
    assert shards.reader(a) is first
    shards.reader(c)  # closes b
    assert shards.reader(a) is first
    assert shards.reader(b) is not second


def test_a_truncated_shard_is_named(folder):
    for path in folder.glob("train-*.array_record"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"train-.*array_record cannot be read"):
        files_of(folder).read(np.arange(3))


def test_gib_are_rounded_up():
    assert in_gib(1) == "0.1"
    assert in_gib(1 << 30) == "1.0"
    assert in_gib((1 << 30) + 1) == "1.1"
    assert in_gib(5000 << 30) == "5,000.0"


def test_counts_that_do_not_fit_the_files(whole):
    """Neither many rows nor long ones make a reader allocate what no file holds."""
    manifest = read_manifest(whole)
    first, *others = manifest.splits["train"]
    for changed in (
        dataclasses.replace(manifest, length=10**6),
        dataclasses.replace(
            manifest, splits={"train": (dataclasses.replace(first, rows=10**15), *others)}
        ),
    ):
        with pytest.raises(InputError, match=r"bytes, too few for [0-9,]+ rows"):
            RowFiles([str(whole)], [changed], "train", no_cache)
    none = {
        "train": tuple(dataclasses.replace(shard, rows=0) for shard in manifest.splits["train"])
    }
    with pytest.raises(InputError, match="the split 'train' of .* has no row"):
        RowFiles([str(whole)], [dataclasses.replace(manifest, splits=none)], "train", no_cache)


def test_records_that_no_such_set_holds(whole):
    """An id beyond the vocabulary would be another token, or zeros, on the device."""
    manifest = dataclasses.replace(read_manifest(whole), vocab_size=6)
    files = RowFiles([str(whole)], [manifest], "train", no_cache)
    with pytest.raises(InputError, match=r"holds the id \d+ of a vocabulary of 6"):
        files.read(np.arange(5))
