"""What is not pixels in a file of an image: its orientation, and how to leave the rest out."""

from collections.abc import Iterator

from PIL import Image

ORIENTATION = 0x0112  # tag of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the value of the tag
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PIXELS_OF_PNG = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
# Segments of a JPEG that do not change its pixels: APP1 to APP13, APP15 and comments. APP0 (JFIF) and
# APP14 (Adobe) say how colours are stored.
METADATA_OF_JPEG = {*range(0xE1, 0xEE), 0xEF, 0xFE}
SHORTEST = {0xE0: 14, 0xEE: 12}  # bytes of their content; shorter ones say nothing
SCAN = 0xDA  # the segment that the compressed pixels of a JPEG follow


def orientation_of(image: Image.Image) -> Image.Transpose | None:
    """Returns how an image has to be turned according to its EXIF data.

    Args:
      image: The image, whose pixels are loaded.

    Returns:
      The transposition; None for an image that is upright or has no EXIF data that can be read.
    """
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken tag raises errors of nearly every kind, and is no reason to refuse
        return None


def without_metadata(content: bytes) -> bytes:
    """Returns a JPEG or PNG file without texts, profiles and EXIF data; other files are returned unchanged.

    Args:
      content: The bytes of the file.
    """
    if content.startswith(PNG):
        return PNG + b"".join(_chunks_of_pixels(content))
    if content.startswith(JPEG):
        return JPEG + b"".join(_segments_of_pixels(content))
    return content


def _chunks_of_pixels(content: bytes) -> Iterator[bytes]:
    """Yields the chunks of a PNG that its pixels depend on."""
    start = len(PNG)
    while start < len(content):
        stop = (
            start + 12 + int.from_bytes(content[start : start + 4], "big")
        )  # length, type, data, CRC
        if content[start + 4 : start + 8] in PIXELS_OF_PNG:
            yield content[start:stop]
        start = stop


def _segments_of_pixels(content: bytes) -> Iterator[bytes]:
    """Yields the segments of a JPEG that its pixels depend on, and all that follows the first scan's head."""
    start = len(JPEG)
    while start + 4 <= len(content) and content[start] == 0xFF and content[start + 1] != SCAN:
        kind, size = content[start + 1], int.from_bytes(content[start + 2 : start + 4], "big")
        stop = start + 2 + size
        if kind not in METADATA_OF_JPEG and size - 2 >= SHORTEST.get(kind, 0):
            yield content[start:stop]
        start = stop
    yield content[start:]
