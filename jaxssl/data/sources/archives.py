"""Recognises files that hold other files, such as .tar and .zip: they are no text, whatever is in them.

The headers of some of them are valid UTF-8, so they would be read as text with the texts that they hold.
"""

import tarfile
from pathlib import Path

from jaxssl.data.sources.compressed import STANDARD, ReadLimits, open_bytes, plain_suffix

SUFFIXES = frozenset(
    [
        *(
            ".tar",
            ".tgz",
            ".tbz",
            ".tbz2",
            ".txz",
            ".tzst",
            ".zip",
            ".7z",
            ".rar",
            ".jar",
            ".whl",
            ".cpio",
        ),
        *(
            ".ar",
            ".deb",
            ".rpm",
            ".iso",
            ".pdf",
            ".epub",
            ".docx",
            ".xlsx",
            ".pptx",
            ".odt",
            ".ods",
            ".npz",
        ),
        *(
            ".npy",
            ".h5",
            ".hdf5",
            ".tfrecord",
            ".array_record",
            ".arrow",
            ".feather",
            ".avro",
            ".orc",
        ),
        *(".sqlite", ".db", ".pkl", ".pickle", ".safetensors"),
    ]
)
BEGINNINGS = {
    b"PK\x03\x04": ".zip",
    b"PK\x05\x06": ".zip",
    b"7z\xbc\xaf\x27\x1c": ".7z",
    b"Rar!\x1a\x07": ".rar",
    b"!<arch>\n": ".ar",
    b"070701": ".cpio",
    b"070707": ".cpio",
    b"%PDF-": ".pdf",
    b"SQLite format 3\0": ".sqlite",
}


def archive_kind(path: Path, limits: ReadLimits = STANDARD) -> str | None:
    """Returns the usual suffix of the archive, or container, that a file is; None for other files.

    Args:
      path: The file, which may be compressed.
      limits: Bounds what a compressed file may decompress to.

    Raises:
      InputError: The file cannot be read.
    """
    suffix = plain_suffix(path).lower()
    if suffix in SUFFIXES:
        return suffix
    with open_bytes(path, limits) as handle:
        head = handle.read(tarfile.BLOCKSIZE)
    for beginning, kind in BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return ".tar"
