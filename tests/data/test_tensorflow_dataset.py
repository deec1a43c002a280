"""A data set of TFDS, built from local files, is read by folder and by name without TensorFlow."""

import os
import subprocess
import sys

import numpy as np
import pytest

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
