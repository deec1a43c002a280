"""Labelled examples from every kind of file, their labels, splits and what is wrong with them."""

import gzip
import json
import lzma

import numpy as np
import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from jaxssl.data.labelled.tables import Labelled
from jaxssl.data.labelled.tables import read_table as read
from jaxssl.data.labelled.texts import label_ids, label_names, open_labelled, read_splits
from jaxssl.errors import InputError

ROWS = [("good film", "pos"), ('a "bad, dull" one', "neg"), ("fine", "pos")]
COLUMNS = {"text": "sentence", "label": "mood"}


class Words:
    """A tokenizer with an id for every word."""

    vocab_size, pad, begin, end = 100, 0, 2, 3

    def encode(self, texts):
        return [np.array([5 + len(word) for word in text.split()], np.int32) for text in texts]


def write(path, rows=ROWS, header=("sentence", "mood")):
    """The rows in the format that the suffix names, compressed as its end says."""
    kind = path.name.split(".")[1]
    if kind == "parquet":
        table = pyarrow.table([list(column) for column in zip(*rows, strict=True)], header)
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(table, sink)
        data = sink.getvalue().to_pybytes()
    elif kind == "jsonl":
        lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
        data = "\n".join(lines).encode()
    elif kind == "csv":
        quoted = [['"' + str(c).replace('"', '""') + '"' for c in row] for row in [header, *rows]]
        data = "\r\n".join(",".join(row) for row in quoted).encode()
    else:
        data = "\n".join("\t".join(map(str, row)) for row in [header, *rows]).encode()
    compress = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}
    path.write_bytes(compress.get(path.suffix, bytes)(data))
    return str(path)


@pytest.mark.parametrize("ending", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "parquet"])
def test_reads_every_kind(tmp_path, kind, ending):
    path = write(tmp_path / f"train.{kind}{ending}")
    table = read(path, "train", Labelled(path, **COLUMNS))
    assert list(zip(table.first, table.labels, strict=True)) == ROWS
    assert table.second is None


def test_reads_pairs(tmp_path):
    rows = [("a", "b", 1), ("c d", "e", 0)]
    path = write(tmp_path / "train.jsonl", rows, ("left", "right", "same"))
    table = read(path, "train", Labelled(path, text="left", second="right", label="same"))
    assert (table.first, table.second, table.labels) == (["a", "c d"], ["b", "e"], ["1", "0"])


def test_reads_a_tensorflow_dataset(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    table = {"train": [("x y", 1), ("z", 0)], "validation": [("w", 1)]}

    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "sentence": tfds.features.Text(),
                "mood": tfds.features.ClassLabel(num_classes=2),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {split: self._generate_examples(split) for split in table}

        def _generate_examples(self, split):
            for i, (sentence, mood) in enumerate(table[split]):
                yield i, {"sentence": sentence, "mood": mood}

    Tiny.pkg_dir_path = tmp_path
    builder = Tiny(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    config = Labelled(f"tfds:{builder.data_dir}", dev=f"tfds:{builder.data_dir}", **COLUMNS)
    splits = read_splits(config)
    assert sorted(zip(splits["train"].first, splits["train"].labels, strict=True)) == [
        ("x y", "1"),
        ("z", "0"),
    ]
    assert splits["dev"].first == ["w"]
    chosen = read(f"tfds:{builder.data_dir}#validation", "train", config)
    assert chosen.labels == ["1"]


@pytest.mark.slow
def test_standard_library_is_labelled_by_its_packages():
    table = read("stdlib", "train", Labelled("stdlib"))
    assert len(table) > 500
    assert {"asyncio", "email"} <= set(table.labels)


def test_labels_are_numbered_in_order(tmp_path):
    path = write(tmp_path / "train.tsv", [("a", n) for n in (10, 9, 2, 10)])
    table = read(path, "train", Labelled(path, **COLUMNS))
    names = label_names(table)
    assert names == ("2", "9", "10")
    assert list(label_ids(table, names)) == [2, 1, 0, 2]


def test_shares_are_always_the_same_and_apart(tmp_path):
    path = write(tmp_path / "train.tsv", [(f"t{i}", i % 2) for i in range(50)])
    config = Labelled(path, dev=0.2, test=0.1, **COLUMNS)
    splits, again = read_splits(config), read_splits(config)
    assert {name: len(table) for name, table in splits.items()} == {
        "dev": 10,
        "test": 5,
        "train": 35,
    }
    assert sorted(sum((table.first for table in splits.values()), [])) == sorted(
        f"t{i}" for i in range(50)
    )
    assert all(splits[name] == again[name] for name in splits)


def test_opens_encodes_and_counts_what_is_cut(tmp_path):
    rows = [("one two three", 0)] * 30 + [("w " * 100, 1)] * 2
    path = write(tmp_path / "train.tsv", rows)
    data = open_labelled(Labelled(path, dev=path, cover=0.9, **COLUMNS), Words(), 512)
    assert data.truncated == {"train": 2, "dev": 2}
    assert data.lengths == (8, 16)
    assert data.encoded["train"].sizes.max() == 16
    assert (
        open_labelled(Labelled(path, dev=path, length=64, **COLUMNS), Words(), 64).lengths[-1] == 64
    )


def test_subsets_are_drawn_by_seed_or_the_first(tmp_path):
    path = write(tmp_path / "train.tsv", [(f"t{i}", i % 2) for i in range(40)])
    few = Labelled(path, dev=path, dev_examples=6, train_examples=10, **COLUMNS)
    data = open_labelled(few, Words(), 64)
    assert np.array_equal(data.train_ids(0), data.train_ids(0))
    assert not np.array_equal(data.train_ids(0), data.train_ids(1))
    assert len(set(data.train_ids(1))) == 10
    assert len(data.tables["dev"]) == len(data.encoded["dev"]) == 6
    first = open_labelled(
        Labelled(path, dev=path, train_examples=3, subset="first", **COLUMNS), Words(), 64
    )
    assert list(first.train_ids(7)) == [0, 1, 2]


def test_fingerprint_tells_data_apart(tmp_path):
    one = write(tmp_path / "one.tsv")
    two = write(tmp_path / "two.tsv", [*ROWS[:2], ("fine", "neg")])
    prints = [
        open_labelled(Labelled(p, dev=p, **COLUMNS), Words(), 64).fingerprint
        for p in (one, one, two)
    ]
    assert prints[0] == prints[1] != prints[2]


WRONG = {  # what is in train.tsv (None: no file), flags, what the message says
    "missing": (None, {}, "train.tsv does not exist"),
    "empty": (b"", {}, "is empty"),
    "header alone": (b"sentence\tmood\n", {}, "contains no example"),
    "column": (b"text\tmood\na\t1\n", {}, "no column 'sentence'; it has text, mood"),
    "width": (b"sentence\tmood\na\t1\nb\n", {}, "line 3 has 1 columns, but the header has 2"),
    "bytes": (b"sentence\tmood\n\xff\t1\n", {}, "byte 14: 0xff is not UTF-8"),
    "label": (b"sentence\tmood\na\t \n", {}, "no example with a label: 1 with no label .*, line 2"),
    "one class": (b"sentence\tmood\na\t1\nb\t1\n", {"dev": 0.5}, "all examples .* are '1'"),
    "too many": (
        b"sentence\tmood\na\t1\nb\t0\n",
        {"train_examples": 9},
        "train_examples=9 exceeds",
    ),
    "long": (
        b"sentence\tmood\na\t1\nb\t0\n",
        {"length": 65},
        "length 65 must be .* max_length 64; set length to 64",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_told_in_one_line(tmp_path, name):
    data, changes, message = WRONG[name]
    path = tmp_path / "train.tsv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        open_labelled(Labelled(str(path), **{"dev": str(path), **COLUMNS, **changes}), Words(), 64)
    assert "\n" not in str(error.value)


def test_unknown_label_and_unknown_kind(tmp_path):
    path, other = write(tmp_path / "train.tsv"), write(tmp_path / "test.tsv", [("x", "mixed")])
    with pytest.raises(InputError, match="'mixed' of example 1 .* labels are neg, pos"):
        open_labelled(Labelled(path, dev=path, test=other, **COLUMNS), Words(), 64)
    with pytest.raises(InputError, match=r"use .tsv, .csv, .jsonl or .parquet"):
        read(str(tmp_path / "train.txt"), "train", Labelled("x"))
    other = write(tmp_path / "twin.tsv", [("x", "p\u043es")])
    with pytest.raises(InputError, match=r"'p\\u043es', which looks like 'pos', of example 1"):
        open_labelled(Labelled(path, dev=path, test=other, **COLUMNS), Words(), 64)
    measures = write(tmp_path / "train.jsonl", [("x", 4.5)])
    with pytest.raises(InputError, match="is a measurement, not a class"):
        read(measures, "train", Labelled(measures, **COLUMNS))
    (tmp_path / "bad.csv").write_text('sentence,mood\n"a" b,1\n')
    with pytest.raises(InputError, match="not valid CSV"):
        read(str(tmp_path / "bad.csv"), "train", Labelled("x", **COLUMNS))


@pytest.mark.parametrize(
    "changes",
    [
        {"dev": 0},
        {"dev": 1.5},
        {"dev": float("nan")},
        {"test": -0.1},
        {"train_examples": 0},
        {"cover": 0},
        {"label": "text"},
        {"on_bad_text": "evil"},
        {"missing": "NA"},
    ],
)
def test_impossible_settings(changes):
    with pytest.raises(InputError):
        Labelled("train.tsv", **changes)
