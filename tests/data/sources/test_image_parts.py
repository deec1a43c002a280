"""Folders that are parts of a data set are not taken for classes, and classes not for parts."""

import pytest

from jaxssl.data.sources.image_parts import parts_of


def found(*names):
    parts = parts_of(list(names))
    return [parts.of(name) for name in names]


@pytest.mark.parametrize(
    ("train", "valid"),
    [("train", "val"), ("Training", "validation"), ("train2017", "val2017"), ("train", "test")],
)
@pytest.mark.parametrize("above", ["", "imagenet/", "ILSVRC/Data/CLS-LOC/"])
def test_train_and_val_are_parts(train, valid, above):
    assert found(
        f"{above}{train}/cat/0.png", f"{above}{train}/dog/0.png", f"{above}{valid}/0.png"
    ) == [
        ("train", ["cat"]),
        ("train", ["dog"]),
        ("valid", []),
    ]


def test_test_is_left_out_where_there_is_a_val():
    assert found("train/0.png", "val/0.png", "test/0.png", "0.png") == [
        ("train", []),
        ("valid", []),
        (None, []),
        (None, []),
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("train/0.png", "car/0.png", "val/0.png"),  # a train is a class, too
        ("train/cat/0.png", "train/dog/0.png"),
        ("val/0.png", "test/0.png"),
        ("trainer/0.png", "valve/0.png"),
        ("0.png", "1.png"),
        ("cat/0.png", "cat/1.png"),
    ],
)
def test_other_folders_are_classes(names):
    assert found(*names) == [("", name.split("/")[:-1]) for name in names]
