"""Metadata that is damaged or huge does not keep pixels from being decoded."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from jaxssl.data.sources.decode_image import BrokenImage, decode
from jaxssl.data.sources.image_metadata import PNG, without_metadata
from tests.data.tiny_images import encoded, picture

RGB = np.asarray(picture("RGB"))
LARGE = "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1)
ASCII, SHORT, RATIONAL, FLOAT, SIGNED = 2, 3, 5, 11, 10
SIZES = {ASCII: 1, SHORT: 2, RATIONAL: 8, FLOAT: 4, SIGNED: 8}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif_of(*tags):
    """EXIF data with tags of any type: (tag, type, data of one value)."""
    head, values = struct.pack("<2sHIH", b"II", 42, 8, len(tags)), b""
    for tag, kind, data in tags:
        place = 8 + 2 + 12 * len(tags) + 4 + len(values)
        values += data if len(data) > 4 else b""
        where = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", place)
        head += struct.pack("<HHI", tag, kind, len(data) // SIZES[kind]) + where
    return b"Exif\0\0" + head + bytes(4) + values


@pytest.mark.parametrize(
    "tag",
    [
        (0x011A, ASCII, b"72 dpi\0"),  # resolution, a rational
        (0x0100, FLOAT, struct.pack("<f", 7.0)),  # width, an integer
        (0x011A, SIGNED, struct.pack("<ii", -1, -1)),
        (0x0131, RATIONAL, struct.pack("<II", 1, 0)),  # software, a string
        (0x0102, FLOAT, struct.pack("<3f", 8.0, 8.0, 8.0)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_is_read_beside_mistyped_tags(tag, kind):
    exif = exif_of(*sorted([tag, (0x0112, SHORT, struct.pack("<H", 3))]))
    lossless = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(picture("RGB"), kind, exif=exif, **lossless)
    found = decode(content, 9, 7, 3, "crop")
    plain = decode(encoded(picture("RGB"), kind, **lossless), 9, 7, 3, "crop")
    np.testing.assert_array_equal(found, np.rot90(plain, 2))


@pytest.mark.parametrize("value", [b"six\0", b"\xff" * 40])
def test_an_orientation_that_is_none_turns_nothing(value):
    exif = exif_of((0x0112, ASCII, value))
    found = decode(encoded(picture("RGB"), exif=exif), 9, 7, 3, "crop")
    np.testing.assert_array_equal(found, RGB)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"note\0\0" + zlib.compress(LARGE.encode())),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE.encode())),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(LARGE.encode())),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzzzz"),
        chunk(b"zTXt", b"note\0\0" + b"no deflate"),
        chunk(b"pHYs", b"short"),
        # by these Pillow does not see that it is a PNG
        chunk(b"zTXt", b"note\0\7" + b"another method"),
        chunk(b"iCCP", b""),
        chunk(b"iCCP", b"profile\0\5" + b"another method"),
        chunk(b"tEXt", b"note\0text")[:-1] + b"?",  # its checksum
        chunk(b"eXIf", b"no EXIF"),
    ],
)
@pytest.mark.parametrize("where", ["before", "behind"])
def test_pixels_of_a_png_are_decoded_whatever_stands_beside_them(extra, where):
    plain = encoded(picture("RGB"))
    start = 33 if where == "before" else len(plain) - 12  # behind the header, or before the end
    np.testing.assert_array_equal(
        decode(plain[:start] + extra + plain[start:], 9, 7, 3, "crop"), RGB
    )


def test_only_what_is_not_pixels_is_left_out():
    plain = encoded(picture("P", height=4, width=4), transparency=0)
    text = chunk(b"tEXt", b"a\0b")
    assert without_metadata(plain[:33] + text + plain[33:]) == plain
    assert plain.startswith(PNG)
    jpeg = encoded(picture("CMYK"), "JPEG", exif=exif_of(), comment=b"note")
    bare = without_metadata(jpeg)
    assert len(bare) < len(jpeg)
    with Image.open(io.BytesIO(bare)) as one, Image.open(io.BytesIO(jpeg)) as two:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    assert without_metadata(b"GIF89a") == b"GIF89a"


@pytest.mark.parametrize(
    ("marker", "data"),
    [
        (0xE0, b"JFIF"),
        (0xEE, b"Adobe"),
        (0xE1, b"Exif\0\0no EXIF"),
        (0xE2, b"ICC_PROFILE\0\1\5x"),
        (0xE2, b"MPF\0no index"),
        (0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\x10ab"),
        (0xFE, b"\xff" * 1000),
    ],
)
def test_pixels_of_a_jpeg_are_decoded_whatever_stands_beside_them(marker, data):
    plain = encoded(picture("RGB"), "JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data
    np.testing.assert_array_equal(
        decode(plain[:2] + segment + plain[2:], 9, 7, 3, "crop"), decode(plain, 9, 7, 3, "crop")
    )


@pytest.mark.parametrize("stop", [9, 20, 34, 60])
def test_a_cut_file_is_broken_still(stop):
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        with pytest.raises(BrokenImage):
            decode(encoded(picture("RGB", height=40, width=40), kind)[:stop], 8, 8, 3, "crop")
