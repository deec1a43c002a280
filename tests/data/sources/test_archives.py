"""Files that hold other files are no text: refused or left out by name, whatever their suffix."""

import gzip
import io
import tarfile
import zipfile

import pytest

from jaxssl.data.sources.archives import archive_kind
from jaxssl.data.sources.readers import Skipped
from jaxssl.data.sources.texts import TextFiles, source_from_path
from jaxssl.errors import InputError

TEXT = b"An ordinary text, long enough to fill a block of an archive.\n" * 20


def tar_of(text, form=tarfile.USTAR_FORMAT, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=form) as archive:
        entry = tarfile.TarInfo("novel.txt")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return stream.getvalue()


def zip_of(text):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("novel.txt", text)
    return stream.getvalue()


def old_tar():
    """A tar of before 1988: its header has no magic, only a sum."""
    data = bytearray(tar_of(TEXT))
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


ARCHIVES = {
    "a.tar": tar_of(TEXT),
    "gnu.tar": tar_of(TEXT, tarfile.GNU_FORMAT),
    "pax.txt": tar_of(TEXT, tarfile.PAX_FORMAT),
    "no_suffix": tar_of(TEXT),
    "old.txt": old_tar(),
    "a.tar.gz": gzip.compress(tar_of(TEXT)),
    "b.txt.gz": gzip.compress(tar_of(TEXT)),
    "a.tgz": gzip.compress(tar_of(TEXT)),
    "a.TAR": tar_of(TEXT),
    "a.zip": zip_of(TEXT),
    "zip.txt": zip_of(TEXT),
    "a.npz": zip_of(TEXT),
    "a.7z": TEXT,
    "library": b"!<arch>\n" + TEXT,
    "cpio.txt": b"070701" + TEXT,
    "paper.txt": b"%PDF-1.7\n" + TEXT,
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(ARCHIVES[name])
    assert archive_kind(tmp_path / name)
    source = TextFiles(str(tmp_path / name))
    with pytest.raises(InputError, match=rf"{name}: it is an archive .*unpack it"):
        list(source.documents())


@pytest.mark.parametrize("name", ["a.txt", "a.md", "tar", "a.tar.txt", "b.txt.gz"])
def test_texts_are_no_archives(tmp_path, name):
    text = TEXT + b"ustar PK\x03\x04"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert archive_kind(tmp_path / name) is None
    for short in (b"a", b"0" * 512, bytes(512)):
        (tmp_path / "short").write_bytes(short)
        assert archive_kind(tmp_path / "short") is None


def test_archives_beside_texts_are_counted(tmp_path):
    (tmp_path / "a.txt").write_bytes(TEXT)
    (tmp_path / "b.tar").write_bytes(ARCHIVES["a.tar"])
    (tmp_path / "c.zip").write_bytes(ARCHIVES["a.zip"])
    with pytest.raises(InputError, match=r"b\.tar: it is an archive.*on_bad_text to 'skip'"):
        list(source_from_path(str(tmp_path)).documents())
    report = Skipped()
    source = source_from_path(str(tmp_path), on_bad_text="skip")
    (document,) = source.documents(report)
    assert document.name == "a.txt"
    assert (report.count, report.first) == (2, str(tmp_path / "b.tar"))
    for line in ("line", "blank_line"):
        source = source_from_path(str(tmp_path), documents=line, on_bad_text="skip")
        assert {document.name.partition("#")[0] for document in source.documents()} == {"a.txt"}


def test_archives_beside_tables_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "README").write_text("about the tables")
    assert [document.text for document in source_from_path(str(tmp_path)).documents()] == ["a"]
    (tmp_path / "b.tar").write_bytes(ARCHIVES["a.tar"])
    with pytest.raises(InputError, match=r"b\.tar is an archive \(\.tar\).*unpack it"):
        source_from_path(str(tmp_path))
