"""The embedded text: enough of it, named, the same each time, and no module is imported for it."""

import subprocess
import sys

from jaxssl.data.sources.standard_library import docstrings, labelled_docstrings
from jaxssl.data.sources.texts import StandardLibrary, source_from_path
from tests.data.tiny_corpus import ENVIRONMENT


def test_there_are_two_million_characters_under_unique_names():
    documents = list(source_from_path("stdlib").documents())
    texts = dict(documents)
    assert len(texts) == len(documents)
    assert sum(map(len, texts.values())) > 1_800_000
    assert "JSON" in texts["json.decoder:JSONDecoder"]
    assert texts["json.decoder:JSONDecoder.decode"].startswith("Return the Python representation")
    assert "string" in texts["topics:strings"]
    for text in texts.values():
        text.encode("utf-8")
    assert not any(name.startswith(("test.", "idlelib", "lib2to3")) for name in texts)


def test_docstrings_are_long_enough_and_never_twice():
    texts = [text for _, text in docstrings()]
    assert len(set(texts)) == len(texts)
    assert min(map(len, texts)) >= 40
    assert list(docstrings()) == sorted(docstrings(), key=lambda d: texts.index(d[1]))


def test_another_process_finds_the_same_and_imports_none_of_it():
    program = (
        "import sys, hashlib; from jaxssl.data.sources.texts import StandardLibrary;"
        "found = list(StandardLibrary().documents());"
        "assert not {'tkinter', 'turtle', 'curses', 'jax'} & set(sys.modules);"
        "print(hashlib.sha256(repr(found).encode()).hexdigest())"
    )
    import hashlib

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    here = repr(list(StandardLibrary().documents())).encode()
    assert run.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_labels_are_the_packages_with_most_docstrings():
    pairs = labelled_docstrings(4)
    labels = [label for _, label in pairs]
    counts = {label: labels.count(label) for label in labels}
    assert len(counts) == 4
    assert {"asyncio", "email"} <= set(counts)
    assert min(counts.values()) > 100
    larger = labelled_docstrings(6)
    assert set(counts) < {label for _, label in larger}
    assert [pair for pair in larger if pair[1] in counts] == pairs
