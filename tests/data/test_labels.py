"""What a label may be: one rule for every file format, and the cases in which it was broken."""

import json
from decimal import Decimal

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from jaxssl.data.labelled.tables import Labelled, read_table
from jaxssl.data.labelled.texts import label_names, read_splits
from jaxssl.data.labels import (
    DOUBTFUL,
    NEVER_CLASSES,
    label_name,
    missing_markers,
    positive_class,
    sorted_labels,
)
from jaxssl.errors import InputError


def named(value, **options):
    return label_name(value, "f.tsv, line 2", "label", **options)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((0, 0.0, "0", "0.0", "-0", "+0.000", "0.", "0e+00", -0.0, Decimal("0.0")), "0"),
        ((1, 1.0, "1", "+1", "1.00", " 1 ", "1.0e+00", np.int64(1), np.float32(1)), "1"),
        ((-1, "-1.0", "\u200b-1", "\u22121"), "-1"),
        ((True, "true", "TRUE", "True", np.bool_(True)), "True"),
        (("caf\u00e9", "cafe\u0301", " caf\u00e9\u200b", "\ufeffcafé"), "café"),
        (("two words", "two  words", "two\u00a0words\t"), "two words"),
        (("1\u200b", "\u20601"), "1"),
        ((10**20, "100000000000000000000"), "100000000000000000000"),
    ],
)
def test_what_is_the_same_class_has_one_name(values, name):
    assert {named(value) for value in values} == {name}


@pytest.mark.parametrize(
    "value",
    [
        "007",
        "v1.5",
        "3.10.2",
        "1e5",
        "a,b",
        "none",
        "None",
        "½",
        "50%",
        "50 %",
        "%",
        "[MASK]",
        "(other)",
    ],
)
def test_names_stay_as_they_are(value):
    assert named(value) == value


def test_no_label():
    assert {named(v) for v in (None, float("nan"), "", " ", "\u200b", np.float32("nan"))} == {None}


MEASUREMENTS = [0.5, "0.5", "1.250", "0,5", "-.5", "1e-01", "inf", float("inf"), "1,000", 1e300]
MEASUREMENTS += ["12.5%", "12,5 %", "0.3\u2030", "\u22120.5"]


@pytest.mark.parametrize("value", [*MEASUREMENTS, Decimal("2.5")])
def test_measurements_are_refused_however_they_are_written(value):
    with pytest.raises(
        InputError, match=r"f.tsv, line 2: label .* is a measurement, not a class; "
    ):
        named(value)
    assert named(value, as_written=True) == str(value).replace("\u2212", "-")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(["a", "b"], "list"), ([0, 1], "list"), ({"id": 1}, "dict"), (np.zeros(2), "ndarray")],
)
def test_structures_are_refused(value, kind):
    with pytest.raises(InputError, match=f"is a {kind}, not the name of a class; write one text"):
        named(value)


@pytest.mark.parametrize("value", ["['a', 'b']", "[1, 0]", '{"id": true}', "('a', 1)", "[]"])
def test_structures_written_as_text_are_refused(value):
    with pytest.raises(InputError, match="is a list or an object written as text"):
        named(value)


@pytest.mark.parametrize(
    "value", ["9" * 5000, 10**5000, "word " * 100], ids=["digits", "integer", "words"]
)
def test_what_is_too_long_for_a_class_is_refused(value):
    with pytest.raises(InputError, match="longer than 256 characters"):
        named(value)


def test_markers_are_no_classes_where_two_others_remain():
    every = NEVER_CLASSES | DOUBTFUL
    assert missing_markers({"0", "1", "-1"}, None) == every
    assert missing_markers({"0", "1", "-100"}, None) == every  # as targets of losses are ignored
    assert missing_markers({"1", "-1"}, None) == NEVER_CLASSES
    assert missing_markers({"+", "-", "NA"}, None) == NEVER_CLASSES
    assert missing_markers({"a", "NA"}, None) == NEVER_CLASSES
    assert missing_markers({"0", "1", "-1"}, ("-1.0", "Unknown")) == {"-1", "unknown"}
    assert missing_markers({"0", "1", "NA"}, ()) == frozenset()


def test_labels_that_look_the_same_are_refused_by_name():
    with pytest.raises(InputError, match=r"'ab' and 'a\\u200db', which look the same"):
        sorted_labels(["ab", "a\u200db"], "f.tsv")
    with pytest.raises(InputError, match=r"'yes' and '\\u0443es', which look the same"):
        sorted_labels(["yes", "\u0443es", "no"], "f.tsv")
    assert sorted_labels(["\u0434\u0430", "\u043d\u0435\u0442"], "f.tsv") == (
        "\u0434\u0430",
        "\u043d\u0435\u0442",
    )
    assert sorted_labels(["10", "9", "-2", "9"], "f.tsv") == ("-2", "9", "10")


@pytest.mark.parametrize(
    ("counts", "wanted", "found"),
    [
        ({"hate": 1, "none": 9}, None, "hate"),
        ({"none": 1, "hate": 9}, None, "none"),
        ({"0": 1, "1": 9}, None, "1"),
        ({"-1": 1, "1": 9}, None, "1"),
        ({"1": 5, "2": 5}, None, "2"),
        ({"no": 1, "yes": 9}, None, "yes"),
        ({"False": 1, "True": 9}, None, "True"),
        ({"neg": 1, "pos": 9}, None, "pos"),
        ({"a": 5, "b": 5}, None, "b"),
        ({"hate": 1, "none": 9}, "none", "none"),
        ({"0": 1, "1": 9}, "0.0", "0"),
        ({"a": 1, "b": 1, "c": 1}, None, None),
    ],
)
def test_the_positive_class(counts, wanted, found):
    assert positive_class(tuple(sorted(counts)), counts, wanted) == found


@pytest.mark.parametrize(
    ("names", "message"), [(("a", "b"), "none of them"), (("a", "b", "c"), "f1 is of one of two")]
)
def test_a_positive_class_that_cannot_be(names, message):
    with pytest.raises(InputError, match=message):
        positive_class(names, dict.fromkeys(names, 1), "c" if len(names) == 3 else "x")


# Whole files: what they hold, and the labels that are read (or the message).

FIRST = [f"note {i}" for i in range(12)]


def write(path, labels):
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.table({"text": FIRST, "label": labels}), path)
    elif path.suffix == ".jsonl":
        rows = [{"text": t, "label": n} for t, n in zip(FIRST, labels, strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        end = "," if path.suffix == ".csv" else "\t"
        rows = [f"{t}{end}{n}\n" for t, n in zip(FIRST, labels, strict=True)]
        path.write_text(f"text{end}label\n" + "".join(rows), encoding="utf-8")
    return str(path)


def half(i):
    return i % 2


@pytest.mark.parametrize(
    ("name", "labels", "names", "left_out"),
    [
        (
            "a.jsonl",
            [-1, *map(half, range(11))],
            ("0", "1"),
            "1 with the label -1 (first: a.jsonl#1)",
        ),
        ("a.csv", ["NA", "nan", *map(half, range(10))], ("0", "1"), "1 with the label NA (first: "),
        ("a.tsv", ["?", "", *"ababababab"], ("a", "b"), "1 with no label (first: "),
        ("a.tsv", ["+1", "-1"] * 6, ("-1", "1"), ""),
        ("a.tsv", ["1", "1\u200b", "0"] * 4, ("0", "1"), ""),
        (
            "a.parquet",
            [float("nan"), *map(float, map(half, range(11)))],
            ("0", "1"),
            "1 with no label",
        ),
        (
            "a.parquet",
            [None, *map(half, range(11))],
            ("0", "1"),
            "1 with no label (first: a.parquet#0)",
        ),
        ("a.csv", ["1.0", "0.0"] * 6, ("0", "1"), ""),
        ("a.jsonl", [True, False] * 6, ("False", "True"), ""),
    ],
)
def test_missing_labels_are_left_out_and_counted(tmp_path, name, labels, names, left_out):
    path = write(tmp_path / name, labels)
    table = read_table(path, "train", Labelled(path))
    assert label_names(table) == names
    assert left_out in table.left_out
    assert bool(table.left_out) == bool(left_out)


def test_markers_may_be_set(tmp_path):
    path = write(tmp_path / "a.tsv", [-1, 0, 1] * 4)
    assert len(read_table(path, "train", Labelled(path))) == 8
    assert len(read_table(path, "train", Labelled(path, missing=()))) == 12
    assert len(read_table(path, "train", Labelled(path, missing=("0",)))) == 8


def test_dev_follows_the_markers_of_train(tmp_path):
    train = write(tmp_path / "train.tsv", [-1, 1] * 6)
    dev = write(tmp_path / "dev.tsv", [-1, 0, 1] * 4)
    assert set(read_splits(Labelled(train, dev=dev))["dev"].labels) == {"-1", "0", "1"}
    train = write(tmp_path / "train.tsv", [0, 1] * 6)
    assert set(read_splits(Labelled(train, dev=dev))["dev"].labels) == {"0", "1"}
    hidden = write(tmp_path / "hidden.tsv", [-1] * 12)
    with pytest.raises(InputError, match="no example with a label: 12 with the label -1 .*; set "):
        read_splits(Labelled(train, dev=dev, test=hidden))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_measurements_are_refused_in_every_format(tmp_path, name):
    scores = [0.0, 1.25, 2.5, 3.75] * 3
    path = write(tmp_path / name, scores)
    with pytest.raises(InputError, match="label 1.25 of column 'label' is a measurement"):
        read_table(path, "train", Labelled(path))
    kept = read_table(path, "train", Labelled(path, numbers_as_written=True))
    assert label_names(kept) == ("0.0", "1.25", "2.5", "3.75")


@pytest.mark.parametrize("label", [["a", "b"], [0, 1], {"id": 1}])
def test_structured_labels_are_refused_in_files(tmp_path, label):
    path = write(tmp_path / "a.jsonl", [label] * 12)
    with pytest.raises(InputError, match=r"a.jsonl#1: label .* not the name of a class"):
        read_table(path, "train", Labelled(path))


HALF = "\ud83d"


@pytest.mark.parametrize("column", ["text", "second", "label"])
def test_half_characters_are_refused_or_left_out(tmp_path, column):
    rows = [{"text": "a", "second": "b", "label": "yn"[i % 2]} for i in range(6)]
    rows[3][column] = f"x{HALF}"
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(InputError, match=rf"a.jsonl#4 contains a lone surrogate .* of '{column}'"):
        read_table(str(path), "train", Labelled(str(path), second="second"))
    kept = read_table(str(path), "train", Labelled(str(path), second="second", on_bad_text="skip"))
    assert len(kept) == 5
    assert kept.left_out == "1 with text that is not valid (first: a.jsonl#4)"


@pytest.mark.parametrize("column", ["text", "label"])
def test_bytes_that_are_no_text_are_refused_by_row(tmp_path, column):
    columns = {"text": [b"a"] * 6, "label": [b"y", b"n"] * 3}
    columns[column][4] = b"caf\xe9"
    path = str(tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(InputError, match=f"a.parquet#4: 0xe9, byte 3 of '{column}', is not UTF-8"):
        read_table(path, "train", Labelled(path))


def test_every_class_keeps_an_example_to_train_on(tmp_path):
    """Whatever the position of the only example of a class, and as many classes as there are."""
    for position in range(12):
        labels = ["odd" if i == position else half(i) for i in range(12)]
        path = write(tmp_path / "a.csv", labels)
        splits = read_splits(Labelled(path, dev=0.25, test=0.25))
        assert "odd" in splits["train"].labels
        assert {name: len(table) for name, table in splits.items()} == {
            "dev": 3,
            "test": 3,
            "train": 6,
        }
