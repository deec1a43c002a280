"""Files that a command writes: what is refused before the work, and what a failure leaves."""

import os

import pytest

from jaxssl.errors import InputError
from jaxssl.tools.output_files import check_output_file, check_output_folder, replaced_when_whole


def test_files_that_can_be_written(tmp_path):
    assert check_output_file(tmp_path / "new", "--into") == tmp_path / "new"
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    assert check_output_file(str(tmp_path / "link"), "--into") == tmp_path / "old"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "--into '.*' is a folder"),
        (".", "is a folder; name a file in it"),
        ("none/v", "there is no folder .*none; make it"),
        ("file/v", "there is no folder"),
        ("pipe", "is no regular file"),
    ],
)
def test_files_that_cannot_be_written(tmp_path, name, message):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=message):
        check_output_file(tmp_path / name, "--into")
    with pytest.raises(InputError, match="is a folder"):
        check_output_file("", "--into")


def test_a_folder_may_be_made(tmp_path):
    path = tmp_path / "a" / "b" / "v"
    assert check_output_file(path, "--json", make_folder=True) == path
    assert path.parent.is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="there is no folder"):
        check_output_file(tmp_path / "file" / "v", "--json", make_folder=True)


def test_a_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # for root, chmod forbids nothing
    with pytest.raises(InputError, match="is read-only; choose another folder"):
        check_output_file(tmp_path / "v", "--into")


def test_a_file_is_replaced_by_what_is_whole(tmp_path):
    path = tmp_path / "v"
    path.write_text("old")

    def write_half():
        with replaced_when_whole(path) as new:
            new.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    with replaced_when_whole(path) as new:
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_made_or_written_to(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dead").symlink_to("nowhere")
    for path in (tmp_path, tmp_path / "a" / "b", "s3://bucket/run", "relative"):
        check_output_folder(path, "--run")
    for path in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / "dead"):
        with pytest.raises(InputError, match=r"--run .*(file|dead) is no folder; choose another"):
            check_output_folder(path, "--run")
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="is read-only; choose another folder"):
        check_output_folder(tmp_path / "run", "--run")
