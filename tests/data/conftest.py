"""What tests of images share: a folder of tiny images of two classes."""

import pytest

from tests.data.tiny_images import write_folder


@pytest.fixture
def image_folder(tmp_path):
    """A folder that holds the classes in `images/`."""
    write_folder(tmp_path / "images")
    return tmp_path
