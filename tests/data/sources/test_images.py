"""Sources of images: folders, ZIP files, arrays and what ships with scikit-learn; refusals name the file."""

import json
import zipfile

import numpy as np
import pytest

from jaxssl.data.sources.decode_image import Unreadable
from jaxssl.data.sources.images import (
    CaptionedImages,
    Digits,
    ImageArrays,
    ImageFiles,
    Photographs,
    TensorflowImages,
    image_source_from_path,
    list_images,
)
from jaxssl.errors import InputError
from tests.data.tiny_images import write_folder, zip_of


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", per_label=2)


def test_a_folder_and_its_zip_hold_the_same_pictures(folder, tmp_path):
    zipped = zip_of(folder, tmp_path / "images.zip")
    found = [list(ImageFiles(str(path)).pictures()) for path in (folder, zipped)]
    for pictures in found:
        assert [(p.name, p.label) for p in pictures] == [
            ("cat/00.png", "cat"),
            ("cat/01.JPG", "cat"),
            ("dog/00.png", "dog"),
            ("dog/01.JPG", "dog"),
        ]
    assert [p.read() for p in found[0]] == [p.read() for p in found[1]]
    assert found[0][0].read() == (folder / "cat" / "00.png").read_bytes()
    assert [p.label for p in ImageFiles(str(folder / "cat")).pictures()] == [None, None]


def test_a_file_that_cannot_be_read_is_no_error_of_its_source(folder):
    pictures = list(ImageFiles(str(folder)).pictures())
    (folder / "cat" / "00.png").unlink()
    assert isinstance(pictures[0].read(), Unreadable)


def captioned(tmp_path, *lines):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return CaptionedImages(str(tmp_path / "a.jsonl"), str(tmp_path / "images"))


def test_captions_of_an_image_are_a_group(folder, tmp_path):
    lines = [{"image": "cat/00.png", "caption": text} for text in ("one", "two")]
    first, second = captioned(tmp_path, *lines).pictures()
    assert (first.name, first.caption) == ("a.jsonl#1:cat/00.png", "one")
    assert (second.name, second.caption) == ("a.jsonl#2:cat/00.png", "two")
    assert first.key == second.key == "cat/00.png"
    left = [file.name for file in captioned(tmp_path, *lines).left_out()]
    assert left == ["cat/01.JPG", "dog/00.png", "dog/01.JPG", "notes.txt"]
    assert first.read() == (folder / "cat" / "00.png").read_bytes()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"image": "cat/99.png", "caption": "x"}, "a.jsonl#1 names image 'cat/99.png', which is"),
        ({"image": "cat/00.png", "caption": " "}, "a.jsonl#1: 'caption' contains no caption"),
        ({"image": "cat/00.png"}, "a.jsonl#1 has no column 'caption'; it has image"),
        ({"image": "cat/00.png", "caption": ["x"]}, "a.jsonl#1: 'caption' contains no caption"),
        (
            {"image": "cat/00.png", "caption": "x\ud83d"},
            r"lone surrogate .*\\ud83d' at character 1 of",
        ),
        ({"image": "cat/\udcff.png", "caption": "x"}, r"names image 'cat/\\udcff.png', which is"),
    ],
)
def test_wrong_captions_are_told_with_their_line(folder, tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        list(captioned(tmp_path, line).pictures())


def test_arrays(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 5, 5), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(30) % 11)
    found = list(ImageArrays(str(tmp_path / "a.npz")).pictures())
    assert (found[10].name, found[10].label) == ("a.npz#10", "10")
    np.testing.assert_array_equal(found[7].read(), images[7])
    np.save(tmp_path / "b.npy", images)
    assert next(ImageArrays(str(tmp_path / "b.npy")).pictures()).label is None
    np.save(tmp_path / "c.npy", images / 255)
    with pytest.raises(InputError, match="images are uint8"):
        next(ImageArrays(str(tmp_path / "c.npy")).pictures())
    np.save(tmp_path / "c.npy", np.zeros((3, 0, 5), np.uint8))
    with pytest.raises(InputError, match=r"contains uint8 \[3, 0, 5\]; images are uint8"):
        next(ImageArrays(str(tmp_path / "c.npy")).pictures())
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(29))
    with pytest.raises(InputError, match=r"30 images but labels of shape \[29\]"):
        next(ImageArrays(str(tmp_path / "d.npz")).pictures())
    with pytest.raises(InputError, match="has no array 'pixels'; it has images, labels"):
        next(ImageArrays(str(tmp_path / "a.npz"), images="pixels").pictures())


def test_minus_one_and_nan_are_no_labels(tmp_path):
    images = np.zeros((4, 5, 5), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([0, -1, 2, -1]))
    np.savez(tmp_path / "b.npz", images=images, labels=np.array([0.0, np.nan, 2.0, np.nan]))
    for name in ("a.npz", "b.npz"):
        found = ImageArrays(str(tmp_path / name)).pictures()
        assert [picture.label for picture in found] == ["0", None, "2", None]


def test_objects_and_scores_are_no_labels(tmp_path):
    images = np.zeros((2, 5, 5), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([{"a": 1}, "b"], object))
    with pytest.raises(InputError, match=r"a\.npz contains no arrays of numbers or strings"):
        list(ImageArrays(str(tmp_path / "a.npz")).pictures())
    np.savez(tmp_path / "b.npz", images=images, labels=np.array([0.25, 0.5]))
    with pytest.raises(InputError, match=r"b\.npz#0: label 0\.25 is a measurement"):
        list(ImageArrays(str(tmp_path / "b.npz")).pictures())


def test_an_array_that_unpacks_to_too_much(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((20, 1024, 1024), np.uint8))
    with pytest.raises(InputError, match=r"a\.npz, images\.npy: it unpacks from .* 200 times"):
        list(ImageArrays(str(tmp_path / "a.npz")).pictures())


def test_folders_that_are_parts_are_no_labels(folder):
    for part in ("train", "val", "test"):
        zip_of(folder, folder.parent / "a.zip")
        zipfile.ZipFile(folder.parent / "a.zip").extractall(folder.parent / "set" / part)
    source = ImageFiles(str(folder.parent / "set"))
    found = {(p.part, p.label) for p in source.pictures()}
    assert found == {(part, label) for part in ("train", "valid") for label in ("cat", "dog")}
    outside = [
        file.name for file in source.left_out() if file.reason.startswith("outside of train/")
    ]
    assert outside == [f"test/{label}/0{i}" for label in ("cat", "dog") for i in ("0.png", "1.JPG")]


def test_what_ships_with_scikit_learn():
    pytest.importorskip("sklearn")
    digits = list(Digits().pictures())
    assert len(digits) == 1797
    assert digits[0].read().max() == 239  # 15 of 16
    assert len(list(Photographs().pictures())) == 2 * 23 * 37


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("digits", Digits()),
        ("photographs", Photographs()),
        ("tfds:mnist", TensorflowImages("mnist")),
        ("tfds:mnist#test", TensorflowImages("mnist", "test")),
        ("a.npz", ImageArrays("a.npz")),
        ("a.zip", ImageFiles("a.zip")),
        ("folder", ImageFiles("folder")),
    ],
)
def test_a_path_stands_for_a_source(path, source):
    assert image_source_from_path(path) == source


def test_captions_stand_for_pairs():
    source = image_source_from_path("folder", captions="a.jsonl", column="text")
    assert source == CaptionedImages("a.jsonl", "folder", caption_column="text")


def test_missing_and_empty_input(folder, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list(ImageFiles(str(tmp_path / "nowhere")).pictures())
    with pytest.raises(InputError, match=r"contains no image .*1 of another type \(notes.txt\)"):
        list(ImageFiles(str(folder / "notes.txt")).pictures())
    with pytest.raises(InputError, match=r"x\.npz does not exist"):
        list(ImageArrays(str(tmp_path / "x.npz")).pictures())
    assert [name for name, _ in list_images(str(folder / "dog"))] == ["00.png", "01.JPG"]
