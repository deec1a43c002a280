"""A slice of any text that `jaxssl prepare` reads, the same for every program that is compared."""

from pathlib import Path

from jaxssl.data.sources.texts import source_from_path


def read_slice(path: str, characters: int) -> list[str]:
    """The documents, each cut to the same share so that they have `characters` in all.

    "stdlib" is the English that ships with Python: 2.3 million characters.
    """
    source = source_from_path(path, documents="blank_line")
    documents = [document.text for document in source.documents()]
    total = sum(len(text) for text in documents)
    if total <= characters:
        return documents
    return [text[: 1 + len(text) * characters // total] for text in documents]


def write_slice(texts: list[str], folder: Path) -> Path:
    """One file, its documents parted by blank lines; blank lines inside them are left out."""
    lines = ("\n".join(line for line in text.split("\n") if line.strip()) for text in texts)
    path = folder / "slice.txt"
    path.write_text("\n\n".join(document for document in lines if document) + "\n", encoding="utf8")
    return path
