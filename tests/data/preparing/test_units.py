"""Units: never larger than asked for, and a shard that depends on its documents and settings alone."""

import dataclasses

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from jaxssl.data.prepared.documents import read_documents
from jaxssl.data.preparing.units import (
    Job,
    Unit,
    cut_units,
    finished_unit,
    load_unchanged,
    row_dtype,
    text_bytes,
    unit_hash,
    write_unit,
)
from jaxssl.data.sources.texts import Document
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from tests.data.tiny_corpus import Words, write_vocabulary


@pytest.fixture
def job(tmp_path):
    vocabulary = write_vocabulary(tmp_path)
    (tmp_path / "units").mkdir()
    fingerprint = load_tokenizer(vocabulary).fingerprint
    return Job(str(tmp_path / "units"), vocabulary, fingerprint, 16)


def test_units_end_before_they_exceed_the_limit():
    sizes = [3, 4, 3, 11, 1, 1]
    documents = [("train", Document(str(i), "x" * size)) for i, size in enumerate(sizes)]
    documents.insert(2, ("valid", Document("held out", "x" * 9)))
    found = [(u.split, u.number, [d.name for d in u.documents]) for u in cut_units(documents, 10)]
    assert found == [
        ("train", 0, ["0", "1", "2"]),  # exactly the limit; the held-out document does not count
        ("train", 1, ["3"]),  # larger than the limit: alone
        ("train", 2, ["4", "5"]),
        ("valid", 0, ["held out"]),
    ]
    assert list(cut_units([], 10)) == []


def test_a_size_of_its_own():
    units = cut_units([("train", number) for number in range(5)], 4, lambda _: 2)
    assert [unit.documents for unit in units] == [[0, 1], [2, 3], [4]]


def test_the_hash_is_of_everything_that_the_shard_depends_on(job):
    unit = Unit("train", 0, [Document("a", "bc"), Document("d", "e")])
    jobs = [dataclasses.replace(job, **c) for c in ({}, {"length": 17}, {"fingerprint": "0"})]
    hashes = [unit_hash(unit, job) for job in jobs]
    for documents in ([("ab", "c"), ("d", "e")], [("d", "e"), ("a", "bc")], [("a", "bc")]):
        hashes.append(unit_hash(unit._replace(documents=[Document(*d) for d in documents]), job))
    assert len(set(hashes)) == len(hashes)
    elsewhere = dataclasses.replace(job, folder="elsewhere")
    assert unit_hash(unit._replace(split="valid", number=7), elsewhere) == hashes[0]


def test_a_shard_holds_its_documents_and_counts_them(job, tmp_path):
    unit = Unit("train", 3, list(Words(10).documents()))
    assert finished_unit(unit, job) is None
    shard = write_unit(unit, job)
    assert (shard.documents, shard.empty) == (10, 1)
    assert shard.bytes == sum(len(document.text) for document in unit.documents)
    reader = ArrayRecordReader(str(tmp_path / "units" / shard.file))
    assert reader.num_records() == shard.rows
    rows = np.frombuffer(b"".join(reader.read_all()), "u2").reshape(-1, 16)
    tokenizer = load_tokenizer(job.tokenizer)
    assert (rows == tokenizer.begin).sum() == shard.pieces
    assert (rows == tokenizer.end).sum() == shard.documents - shard.empty
    names, offsets, documents = read_documents(tmp_path / "units" / shard.documents_file)
    assert len(names) == 9
    assert (len(offsets), len(documents)) == (shard.rows + 1, shard.pieces)
    assert finished_unit(unit, job) == shard


@pytest.mark.parametrize("ending", [".array_record", ".documents.npz", ".json"])
def test_a_damaged_shard_is_not_finished(job, tmp_path, ending):
    unit = Unit("train", 0, list(Words(5).documents()))
    shard = write_unit(unit, job)
    (path,) = (tmp_path / "units").glob(f"*{ending}")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert finished_unit(unit, job) is None
    assert write_unit(unit, job) == shard  # and written again


def test_a_tokenizer_that_changed_is_refused(job):
    load_unchanged.cache_clear()
    assert load_unchanged(job.tokenizer, job.fingerprint).fingerprint == job.fingerprint
    with pytest.raises(InputError, match="was changed during preparation"):
        load_unchanged(job.tokenizer, "0")


def test_types_and_bytes():
    sizes = (1, 1 << 16, (1 << 16) + 1)
    assert [row_dtype(size) for size in sizes] == ["uint16", "uint16", "uint32"]
    assert [text_bytes(text) for text in ("abc", "ü中🙂")] == [3, 9]
    with pytest.raises(UnicodeEncodeError):
        text_bytes("\ud800")
