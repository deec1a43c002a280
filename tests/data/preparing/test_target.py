"""Where no folder can be made is told in one line, before the work; a link is followed."""

import os
from pathlib import Path

import pytest

from jaxssl.data.preparing.target import check_can_be_made, target_of
from jaxssl.errors import InputError


@pytest.mark.parametrize("path", ["", "/", ".", "..", "a/..", "a\0b"])
def test_names_of_no_new_folder(path):
    with pytest.raises(InputError, match="names no new folder; give one such as prepared/text"):
        target_of(path)


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(InputError, match="the name xxxxxxxxxxxxxxxxxxxx… is longer than 200 bytes"):
        target_of(tmp_path / ("x" * 250))


def test_links_are_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert target_of(tmp_path / "link") == tmp_path / "nowhere"
    assert target_of(str(tmp_path / "plain")) == tmp_path / "plain"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match="cannot be followed"):
        target_of(tmp_path / "loop")


def test_a_folder_that_cannot_be_made(tmp_path):
    check_can_be_made(tmp_path / "new" / "set")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    for path in (
        tmp_path / "file" / "set",
        tmp_path / "file" / "a" / "set",
    ):
        with pytest.raises(
            InputError, match=r"cannot be made \(.*\); choose another folder"
        ) as caught:
            check_can_be_made(path)
        assert "\n" not in str(caught.value)
    if os.path.isdir("/proc/self"):
        with pytest.raises(InputError, match="set cannot be made"):
            check_can_be_made(Path("/proc/set"))
