"""Folders are walked through with their links, each once; what is not read has a reason."""

import os

import pytest

from jaxssl.data.sources.folders import LeftOut, in_words, is_hidden, matching, walk


@pytest.fixture
def folder(tmp_path):
    """Two folders, of which one links to the other, to itself and to nowhere."""
    for name in ("store/a", "texts/b", "texts/.git/c", "texts/part/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "texts" / "linked").symlink_to("../store")
    (tmp_path / "texts" / "part" / "loop").symlink_to("..")
    (tmp_path / "texts" / "none").symlink_to("nowhere")
    return tmp_path / "texts"


def test_links_are_followed_and_every_folder_is_read_once(folder):
    assert sorted(walk(folder)) == [
        (".git", "hidden"),
        ("b", folder / "b"),
        ("linked/a", folder / "linked" / "a"),
        ("none", folder / "none"),
        ("part/d", folder / "part" / "d"),
        ("part/loop", "a link to a folder that is read already"),
    ]
    assert [file[0] for file in walk(folder / "part", "x/")][:1] == ["x/d"]


def test_a_pattern_takes_folders_with_all_that_is_in_them(folder):
    (folder / "part" / "loop").unlink()  # glob itself follows links as often as names get longer
    names = ["b", "linked/a", "none", "part/d"]
    for pattern in ("*", "**", "**/*", "[b-z]*"):
        found = matching(f"{folder}/{pattern}")
        assert sorted(file[0] for file in found if not isinstance(file, LeftOut)) == names
    assert list(matching(f"{folder}/*/d")) == [("part/d", folder / "part" / "d")]
    assert list(matching(f"{folder}/*.txt")) == []


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", forbidden)
    assert list(walk(tmp_path)) == [LeftOut(".", "a folder that cannot be read: Permission denied")]


def test_many_are_shortened():
    assert in_words([LeftOut(f"{i}.txt", "of another type") for i in range(5)]) == (
        "5 of another type (0.txt, 1.txt, 2.txt, …)"
    )
    assert in_words([LeftOut("a", "hidden"), LeftOut("b", "empty"), LeftOut("c", "hidden")]) == (
        "2 hidden (a, c); 1 empty (b)"
    )
    assert is_hidden("a/.git/b")
    assert not is_hidden("a.b/c.d")
