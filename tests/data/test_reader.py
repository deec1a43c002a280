"""What both readers share: configurations, the order of batches, their fingerprint, and what is refused."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from jaxssl.data.images import ImageReader, Images
from jaxssl.data.prepared.order import InOrder, Shuffled
from jaxssl.data.preparing.texts import Prepare
from jaxssl.data.reader import (
    BatchReader,
    OpenSplit,
    PreparedSets,
    check_alike,
    fingerprint_of_batches,
    matching_tokenizer,
)
from jaxssl.data.rows import RowReader, Rows
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from tests.data.tiny_corpus import Words, write_vocabulary


class Numbers(BatchReader):
    """Its rows are their own ids; a batch that is not full is left as it is."""

    def batch(self, step):
        ids = [self._ids(step, part.start, part.stop) for part in self._parts]
        return {"ids": np.concatenate(ids)}

    def save_spec(self, run):
        raise NotImplementedError


@dataclass(frozen=True)
class Spec:
    batch: int


def numbers(order, rows=7, batch=3, parts=None):
    files = SimpleNamespace(
        rows=rows,
        set_rows=[rows],
        stored_bytes=12,
        documents=lambda ids: [f"{i}" for i in ids],
        record=np.dtype(np.int64),
    )
    return Numbers(OpenSplit(files, order, "print"), Spec(batch), None, parts=parts)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ("a", "b"), "weights": (1.0,)}, "1 weights for 2"),
        ({"path": "a", "weights": (1.0, 2.0)}, "2 weights for 1"),
        ({"path": ("a", "b"), "weights": (1.0, 0.0)}, r"weight 0\.0 must be positive"),
        ({"path": ("a", "b"), "weights": (1.0, -1.0)}, r"weight -1\.0"),
        (
            {"path": ("a", "b"), "weights": (1.0, float("nan"))},
            r"weight nan|weights=\(1.0, nan\) must be",
        ),
        ({"path": "a", "batch": 0}, "batch=0"),
        ({"path": "a", "batch": 100_000_000}, "batch=100000000 must be at most 4194304"),
        ({"path": ()}, "names no"),
        ({"path": ("a", "b"), "prepare": Prepare(Words())}, "prepare makes one set"),
    ],
)
def test_wrong_configurations(fields, message):
    with pytest.raises(InputError, match=message):
        Rows(**fields)
    if "prepare" not in fields:
        with pytest.raises(InputError, match=message):
            Images(**fields)


def test_one_folder_is_a_tuple_of_one():
    assert Rows("a").paths == ("a",)
    assert Rows(["a", "b"]).paths == ("a", "b")
    assert (Rows("a").batch, Images("a").batch) == (64, 256)


def test_the_bases_are_abstract_and_the_kinds_final():
    for base in (PreparedSets, BatchReader):
        with pytest.raises(TypeError, match="abstract"):
            base("a", "b", "c")
    for kind in (Rows, Images, RowReader, ImageReader):
        assert kind.__final__


def test_in_order_every_row_comes_once():
    reader = numbers(InOrder(7))
    assert (reader.rows, reader.batches, reader.stored_bytes) == (7, 3, 12)
    assert reader.set_rows == [7]
    assert [reader.row_ids(step).tolist() for step in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    for step in (-1, 3):
        with pytest.raises(IndexError, match=f"batch {step} does not exist; there are 3"):
            reader.row_ids(step)
    assert reader.documents(reader.row_ids(1)) == ["3", "4", "5"]


def test_a_shuffled_order_has_no_end():
    reader = numbers(Shuffled([7], (), seed=0))
    assert reader.batches == 2
    epoch = np.concatenate([reader.row_ids(step) for step in range(7)])  # three epochs of seven
    for start in (0, 7, 14):
        assert sorted(epoch[start : start + 7]) == list(range(7))
    with pytest.raises(IndexError, match="batch -1"):
        reader.row_ids(-1)


def test_hosts_read_their_parts_of_the_same_batch():
    order = Shuffled([7], (), seed=0)
    whole = numbers(order)
    first, rest = numbers(order, parts=[range(1)]), numbers(order, parts=[range(1, 2), range(2, 3)])
    for step in (0, 5, 1):
        joined = np.concatenate([part.batch(step)["ids"] for part in (first, rest)])
        np.testing.assert_array_equal(joined, whole.batch(step)["ids"])
        np.testing.assert_array_equal(rest.row_ids(step), whole.row_ids(step))


def test_sets_that_differ_are_refused():
    first, second = (
        SimpleNamespace(length=8, tokenizer="x"),
        SimpleNamespace(length=9, tokenizer="y"),
    )
    check_alike(("a", "b"), (first, first), ("length", "tokenizer"))
    with pytest.raises(InputError, match="b has length 9 and a has 8; prepare them alike"):
        check_alike(("a", "b"), (first, second), ("length", "tokenizer"))
    with pytest.raises(InputError, match="different tokenizers; .* the tokenizer in a/tokenizer"):
        check_alike(("a", "b"), (first, second), ("tokenizer",))


def test_the_fingerprint_depends_on_the_order_itself():
    manifests = [SimpleNamespace(fingerprint="set")]
    prints = [
        fingerprint_of_batches(manifests, split, batch, order)
        for split, batch, order in [
            ("train", 3, InOrder(7)),
            ("valid", 3, InOrder(7)),
            ("train", 4, InOrder(7)),
            ("train", 3, InOrder(8)),
            ("train", 3, Shuffled([7], (), seed=0)),
        ]
    ]
    assert len(set(prints)) == len(prints)
    # Runs of earlier versions are compared with it, so it may not change.
    assert prints[0] == "0ca112052376f43df14a54f8420bbd8709a8ff833fc38830ba21ae1246dae5b6"


def test_only_the_tokenizer_of_the_set_is_taken(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path))
    tokenizer.save(tmp_path / "tokenizer")
    found = matching_tokenizer(str(tmp_path), tokenizer.fingerprint)
    assert found.fingerprint == tokenizer.fingerprint
    with pytest.raises(InputError, match="not the one that its rows were made with"):
        matching_tokenizer(str(tmp_path), "0" * 64)
