"""Readers of tables and data sets: names, positions in error messages, and text that is none.

A data set of TFDS, built from local files, is read by folder and by name without TensorFlow.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from jaxssl.data.sources.compressed import ReadLimits
from jaxssl.data.sources.folders import in_words
from jaxssl.data.sources.readers import (
    Decoder,
    Skipped,
    files_left_out,
    files_of,
    read_json_lines,
    value_of,
)
from jaxssl.errors import InputError
from tests.data.tiny_corpus import ENVIRONMENT
from tests.data.tiny_images import encoded, picture

BUILD = """
import sys
import tensorflow_datasets as tfds

class Poems(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    name = "poems"

    def _info(self):
        features = tfds.features.FeaturesDict({
            "verse": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["a", "b"]),
            "image": tfds.features.Image(shape=(None, None, 3)),
        })
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
        return {"train": self._generate_examples("train"), "test": self._generate_examples("test")}

    def _generate_examples(self, split):
        for number, line in enumerate(open(f"{sys.argv[1]}/{split}.txt", encoding="utf-8")):
            yield number, {
                "verse": line.strip(), "label": number % 2, "image": f"{sys.argv[1]}/{number}.png"
            }

Poems(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
"""
READ = """
import sys
from jaxssl.data.sources.decode_image import decode
from jaxssl.data.sources.images import TensorflowImages
from jaxssl.data.sources.texts import source_from_path
from jaxssl.errors import InputError
for path in sys.argv[1:]:
    print([tuple(d) for d in source_from_path(path, column="verse").documents()])
path = sys.argv[1]
refused = [(path, "text"), (path, "label"), (path + "#dev", "verse"), ("tfds:no_such_set", None)]
for path, column in refused:
    try:
        list(source_from_path(path, column=column).documents())
    except InputError as error:
        print(error)
for picture in TensorflowImages(sys.argv[1].removeprefix("tfds:")).pictures():
    content = picture.read()
    assert isinstance(content, bytes)  # left to be decoded by us
    print((picture.name, picture.label, decode(content, 9, 7, 3, "crop").tolist()))
assert "tensorflow" not in sys.modules and "jax" not in sys.modules
"""
LINES = {"train": ["Über allen Gipfeln", "ist Ruh"], "test": ["床前明月光"]}


def test_a_byte_order_mark_counts_at_the_beginning_only(tmp_path):
    decoder = Decoder()
    assert decoder.text("\ufeffa".encode(), tmp_path) == "a"
    assert decoder.text("\ufeffa".encode(), tmp_path, offset=9) == "\ufeffa"


def test_bytes_that_are_no_text_are_refused_or_counted(tmp_path):
    with pytest.raises(
        InputError, match="file, byte 12: 0xff is not UTF-8; .*on_bad_text to 'skip'"
    ):
        Decoder().text(b"ab\xff", "file", offset=10)
    report = Skipped()
    decoder = Decoder("skip", report)
    assert decoder.text(b"ab\xff", "file", offset=10) is None
    assert decoder.value("half \ud800", "file#3", "text") is None
    assert (report.count, report.first) == (2, "file, byte 12")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "file#3: 'text' contains 3, which is not text"),
        (b"a\xff", "file#3: 0xff, byte 1 of 'text', is not UTF-8"),
        ("a\ud800", r"file#3 contains a lone surrogate .* '\\ud800' at character 1 of 'text'"),
    ],
)
def test_values_that_are_no_text(value, message):
    with pytest.raises(InputError, match=message):
        Decoder().value(value, "file#3", "text")
    assert Decoder().value(None, "file#3", "text") is None
    assert Decoder().value("größe".encode(), "file#3", "text") == "größe"


def test_files_of_a_path(tmp_path):
    for name in ("b.txt", "a/c.jsonl.gz", "a/d.md", ".hidden/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.txt").touch()
    names = [name for name, _ in files_of(str(tmp_path))]
    assert names == ["a/c.jsonl.gz", "a/d.md", "b.txt"]
    assert files_of(str(tmp_path / "b.txt")) == [("b.txt", tmp_path / "b.txt")]
    assert [name for name, _ in files_of(str(tmp_path), (".jsonl",))] == ["a/c.jsonl.gz"]
    assert [name for name, _ in files_of(f"{tmp_path}/a/*.md")] == ["d.md"]
    for path, suffixes, message in (
        (tmp_path, (".csv",), "is a folder without .csv file"),
        (tmp_path / "*.csv", (), "no file matches"),
        (tmp_path / "none", (), "does not exist"),
        ("", (), "^'' does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            files_of(str(path), suffixes)


def test_what_is_no_file_of_the_kind_is_named(tmp_path):
    """Files and folders behind links are read, as images are; nothing vanishes without a word."""
    store, texts = tmp_path / "store", tmp_path / "texts"
    for name in (store / "a.jsonl", texts / "b.jsonl", texts / "README", texts / ".DS_Store"):
        name.parent.mkdir(exist_ok=True)
        name.write_text('{"text": "x"}')
    (texts / "empty.jsonl").touch()
    os.mkfifo(texts / "pipe.jsonl")
    (texts / "books").symlink_to("../store")
    (texts / "c.jsonl").symlink_to("../store/a.jsonl")
    (texts / "gone.jsonl").symlink_to("nowhere")
    names = [name for name, _ in files_of(str(texts), (".jsonl",))]
    assert names == ["b.jsonl", "books/a.jsonl", "c.jsonl"]
    assert len(list(read_json_lines(str(texts)))) == 3
    assert in_words(files_left_out(str(texts), (".jsonl",))) == (
        "1 hidden (.DS_Store); 1 of another type (README); 1 empty (empty.jsonl); "
        "1 a link to nowhere (gone.jsonl); 1 no regular file (pipe.jsonl)"
    )
    assert "README" in [name for name, _ in files_of(str(texts))]
    assert [name for name, _ in files_of(f"{texts}/b*")] == ["b.jsonl", "books/a.jsonl"]
    assert files_left_out(str(texts / "b.jsonl")) == files_left_out(str(tmp_path / "none")) == []


def test_lines_are_counted_from_one_and_blank_ones_too(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    found = list(read_json_lines(str(tmp_path / "a.jsonl")))
    assert found == [("a.jsonl#1", {"n": 1}), ("a.jsonl#3", {"n": 2})]
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n[2]\n')
    with pytest.raises(InputError, match=r"a.jsonl:2 is not a JSON object but \[2\]"):
        list(read_json_lines(str(tmp_path / "a.jsonl")))
    (tmp_path / "a.jsonl").write_text("[" * 100_000)
    with pytest.raises(InputError, match="a.jsonl:1 is nested too deeply"):
        list(read_json_lines(str(tmp_path / "a.jsonl")))
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": ' + "9" * 5000 + "}")
    with pytest.raises(InputError, match="a.jsonl:1 contains a number of too many digits"):
        list(read_json_lines(str(tmp_path / "a.jsonl")))
    (tmp_path / "a.jsonl").write_text('{"text": "' + "a" * 2000 + '"}\n')
    with pytest.raises(InputError, match="a.jsonl, line 1 is longer than 0.001 MiB; split it, or"):
        list(read_json_lines(str(tmp_path / "a.jsonl"), limits=ReadLimits(document_mib=0.001)))


def test_a_missing_column_names_the_others():
    assert value_of({"a": 1}, "a", "file#1") == 1
    with pytest.raises(InputError, match="file#1 has no column 'b'; it has a"):
        value_of({"a": 1}, "b", "file#1")
    with pytest.raises(InputError, match="file#1 has no column 'b'; it has none"):
        value_of({}, "b", "file#1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for split, lines in LINES.items():
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number in range(2):
        (folder / f"{number}.png").write_bytes(encoded(picture("RGB", number)))
    _run(BUILD, folder, str(folder))
    return folder


def test_by_folder_and_by_name(folder):
    poems = folder / "poems"
    names = ["poems", "poems:1.0.0", "poems#test"]
    paths = [f"tfds:{poems}", f"tfds:{poems}/1.0.0", *(f"tfds:{name}" for name in names)]
    *found, no_column, no_text, no_split, no_set, first, second = _run(
        READ, folder, *paths
    ).splitlines()
    expected = {s: sorted(LINES[s]) for s in LINES}
    for path, line in zip(paths, found, strict=True):
        split = "test" if path == "tfds:poems#test" else "train"
        documents = eval(line)
        assert [name for name, _ in documents] == [
            f"poems/1.0.0/{split}#{i}" for i in range(len(LINES[split]))
        ]
        assert sorted(text for _, text in documents) == expected[split]
    assert found[0] == found[1] == found[2] == found[3]
    assert "has no column 'text'; it has image, label, verse" in no_column
    assert "'label' contains 0, which is not text" in no_text
    assert "'dev'" in no_split
    assert "'no_such_set'" in no_set
    images = {label: pixels for _, label, pixels in map(eval, (first, second))}
    for number, label in enumerate("ab"):
        assert images[label] == np.asarray(picture("RGB", number)).tolist()


def _run(program: str, folder, *arguments: str) -> str:
    environment = {**ENVIRONMENT, "TFDS_DATA_DIR": str(folder), "HOME": str(folder)}
    environment.pop("PYTHONSTARTUP", None)
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=os.fspath(folder),
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout
