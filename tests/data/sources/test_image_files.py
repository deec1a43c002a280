"""Files of images in folders and ZIPs: every format and link is read; what is not has a reason."""

import os
import zipfile

import pytest

from jaxssl.data.sources import image_files
from jaxssl.data.sources.decode_image import Unreadable, decode
from jaxssl.data.sources.folders import LeftOut, in_words
from jaxssl.data.sources.image_files import (
    MOST_BYTES,
    ImageFile,
    list_files,
    list_images,
)
from jaxssl.errors import InputError
from tests.data.tiny_images import encoded, picture

FORMATS = {
    **{"jfif": "JPEG", "JPE": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP"},
    **{"tif": "TIFF", "TIFF": "TIFF", "pgm": "PPM"},
}


def names(path):
    return [file.name for file in list_images(str(path))]


def left_out(path):
    return [file for file in list_files(str(path)) if isinstance(file, LeftOut)]


@pytest.fixture
def png():
    return encoded(picture("RGB"))


def test_every_format_is_listed_and_decoded(tmp_path):
    for suffix, kind in FORMATS.items():
        (tmp_path / f"{suffix}.{suffix}").write_bytes(encoded(picture("L"), kind))
    found = list(list_images(str(tmp_path)))
    assert len(found) == len(FORMATS)
    for _, read in found:
        assert decode(read(), 9, 7, 1, "crop").shape == (9, 7, 1)


def test_links_are_followed_and_end(tmp_path, png):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "0.png").write_bytes(png)
    photos = tmp_path / "photos"
    (photos / "dog").mkdir(parents=True)
    (photos / "cat").symlink_to("../store")
    (photos / "dog" / "1.png").symlink_to("../../store/0.png")
    (photos / "dog" / "loop").symlink_to("..")
    (photos / "self.png").symlink_to("self.png")
    assert names(photos) == ["cat/0.png", "dog/1.png", "self.png"]
    assert left_out(photos) == [LeftOut("dog/loop", "a link to a folder that is read already")]
    (_, read), (_, linked), (_, dead) = list_images(str(photos))
    assert read() == linked() == png
    assert isinstance(dead(), Unreadable)


def test_what_is_no_image_is_named(tmp_path, png):
    (tmp_path / ".cache").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("0.png", "._0.png", "notes.txt", "video.mp4", "cache.db"):
        (tmp_path / name).write_bytes(png)
    (tmp_path / "empty.jpg").touch()  # is an image, and is told when it is decoded
    assert names(tmp_path) == ["0.png", "empty.jpg"]
    assert in_words(left_out(tmp_path)) == (
        "2 hidden (._0.png, .cache); 3 of another type (cache.db, notes.txt, video.mp4); "
        "1 no regular file (pipe.png)"
    )


def test_names_in_a_zip(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cat\\0.png", "../dog/1.png", "a/../dog/2.png", "/dog/3.png", "dog/3.png"):
            archive.writestr(name, png)
        archive.writestr("cat/notes.txt", b"no image")
        archive.writestr("cow\\", b"")
    assert names(tmp_path / "a.zip") == ["a/dog/2.png", "cat/0.png", "dog/1.png", "dog/3.png"]
    assert in_words(left_out(tmp_path / "a.zip")) == (
        "1 of another type (cat/notes.txt); 1 of the same name as another file (dog/3.png)"
    )
    assert [read() for _, read in list_images(str(tmp_path / "a.zip"))] == [png] * 4


def test_a_zip_that_is_no_whole_zip(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(9):
            archive.writestr(f"{number}.png", png)
    whole = (tmp_path / "a.zip").read_bytes()
    for name in ("cut.zip", "cut"):
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(InputError, match=r"no whole ZIP.*; download or copy it again"):
            names(tmp_path / name)
    (tmp_path / "torn.zip").write_bytes(whole[:40] + b"?" * 60 + whole[100:])
    (_, torn), (_, good), *_ = list_images(str(tmp_path / "torn.zip"))
    assert isinstance(torn(), Unreadable)
    assert good() == png


def test_an_image_of_a_huge_file_is_not_read(tmp_path, png):
    (tmp_path / "0.png").write_bytes(png)
    os.truncate(tmp_path / "0.png", MOST_BYTES + 1)  # takes no room on the disk
    ((_, read),) = list_images(str(tmp_path))
    assert "exceed the limit" in read().reason


def test_a_small_zip_does_not_become_huge(tmp_path, png, monkeypatch):
    monkeypatch.setattr(image_files, "SMALL", 1 << 16)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", bytes(1 << 20))
        archive.writestr("1.png", png)
    (_, bomb), (_, whole) = list_images(str(tmp_path / "a.zip"))
    assert "to 1,048,576 bytes, more than 200 times as many" in bomb().reason
    assert whole() == png


def test_a_glob_takes_the_files_below_folders_that_match(tmp_path, png):
    for name in ("train1/cat/0.png", "train2/dog/0.png", "other/0.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(png)
    assert names(tmp_path / "train*") == ["train1/cat/0.png", "train2/dog/0.png"]
    assert names(tmp_path / "**" / "*.png") == [
        "other/0.png",
        "train1/cat/0.png",
        "train2/dog/0.png",
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("train.zip", r"contains no image, but a ZIP; give .*photos/train\.zip"),
        ("train.tar", r"photos/train\.tar is an archive, which is not read; unpack it"),
        ("train.tar.gz", r"photos/train\.tar\.gz is an archive"),
        ("notes.txt", r"contains no image .*: 1 of another type \(notes\.txt\)"),
    ],
)
def test_a_folder_without_images_says_what_it_holds(tmp_path, name, line):
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="it is empty"):
        names(tmp_path / "photos")
    (tmp_path / "photos" / name).write_bytes(b"PK and more")
    with pytest.raises(InputError, match=line):
        names(tmp_path / "photos")


def test_missing(tmp_path):
    for path in (tmp_path / "nowhere", ""):
        with pytest.raises(InputError, match="does not exist"):
            names(path)
    with pytest.raises(InputError, match="no file matches"):
        names(tmp_path / "*.png")


def test_one_image(tmp_path, png):
    (tmp_path / "0.png").write_bytes(png)
    ((name, read),) = list_images(str(tmp_path / "0.png"))
    assert (name, read()) == ("0.png", png)
    assert isinstance(list_files(str(tmp_path / "0.png"))[0], ImageFile)
