"""Every mode of Pillow, EXIF rotations and broken files become pixels of one size, or a reason."""

import numpy as np
import pytest
from PIL import Image

from jaxssl.data.sources import decode_image
from jaxssl.data.sources.decode_image import BrokenImage, Unreadable, decode
from tests.data.tiny_images import KINDS, encoded, picture

RGB = np.asarray(picture("RGB"))


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode(mode, channels):
    image = picture(mode)
    content = encoded(image, "JPEG", quality=100) if mode == "CMYK" else encoded(image)
    found = decode(content, 9, 7, channels, "crop")
    assert found.shape == (9, 7, channels)
    assert found.dtype == np.uint8
    gray = np.asarray(picture("RGB").convert("L")).astype(int)
    if mode == "1" or mode == "P":  # few colours
        return
    expected = RGB if channels == 3 and mode in ("RGB", "RGBA", "CMYK") else gray[..., None]
    limit = 40 if mode == "CMYK" else 1  # a JPEG keeps a quarter of the colours
    assert np.abs(found.astype(int) - expected).max() <= limit


def test_transparent_is_white():
    image = picture("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[0], [255]]), [4, 5], 0).repeat(7, 1)))
    found = decode(encoded(image), 9, 7, 3, "crop")
    assert (found[:4] == 255).all()
    np.testing.assert_array_equal(found[4:], RGB[4:])


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_rotations_of_exif(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(
        encoded(picture("RGB"), exif=exif.tobytes()), *(9, 7)[:: 1 - turn % 2 * 2], 3, "crop"
    )
    np.testing.assert_array_equal(found, np.rot90(RGB, turn))


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for kind in ("GIF", "PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (decode(content, 4, 4, 3, "crop") == [255, 0, 0]).all()


def test_16_bits_are_rounded_in_every_row(monkeypatch):
    pixels = np.arange(9 * 7, dtype=np.uint16).reshape(9, 7) * 1_000
    expected = np.round(pixels / 257)
    for block in (1, 10, 1 << 20):
        monkeypatch.setattr(decode_image, "BLOCK", block)
        found = decode(encoded(Image.fromarray(pixels)), 9, 7, 1, "crop")[..., 0]
        np.testing.assert_array_equal(found, expected)


def test_other_shapes():
    image = Image.fromarray(np.repeat(np.uint8([[[0], [100], [200]]]), 3, 0).repeat(3, 2))
    wide = encoded(image.resize((12, 4), Image.Resampling.NEAREST))
    assert (decode(wide, 4, 4, 1, "crop") == 100).all()
    padded = decode(wide, 12, 12, 1, "pad")[..., 0]
    assert (padded[:4] == 255).all()
    assert padded[6, 0] == 0
    stretched = decode(wide, 4, 12, 1, "stretch")
    np.testing.assert_array_equal(
        stretched[..., 0], np.repeat(np.uint8([[0, 100, 200]]), 4, 1).repeat(4, 0)
    )
    array = decode(RGB[..., 0], 9, 7, 3, "crop")
    np.testing.assert_array_equal(array, RGB[..., :1].repeat(3, 2))


def test_a_large_jpeg_is_decoded_small():
    down, across = np.mgrid[0:512, 0:512] / 2
    large = Image.fromarray(np.stack([down, across, (down + across) / 2], -1).astype(np.uint8))
    found = decode(encoded(large, "JPEG"), 16, 16, 3, "crop").astype(int)
    exact = np.asarray(large.resize((16, 16), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(found - exact).max() <= 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"%PDF and no image", "not a file of JPEG, PNG, .* or PPM"),
        (encoded(Image.new("1", (20_000, 20_000))), "exceeds limit"),
        (encoded(Image.new("1", (12_000, 12_000))), "12000 x 12000 pixels exceed the limit"),
        (encoded(Image.new("F", (8, 8), 0.5), "TIFF"), "float32 without a known range"),
        (encoded(Image.new("I", (8, 8), 70_000), "TIFF"), "int32 without a known range"),
        (encoded(picture("RGB"))[:60], "."),
        (encoded(picture("RGB", height=64, width=64), "JPEG")[:-300], "truncated"),
        (Unreadable("the disk is on fire"), "on fire"),
        (np.zeros((4, 4, 2), np.uint8), "not an image"),
    ],
)
def test_what_is_broken_says_why(content, reason):
    with pytest.raises(BrokenImage, match=reason):
        decode(content, 8, 8, 3, "crop")
