"""Folders that commands read again, with a file mutated: prepared sets, runs, checkpoints, finetunings."""

import shutil

import pytest

from tests.malformed.commands import check_all, run_command
from tests.malformed.conftest import recipe
from tests.malformed.mutations import of_bytes, of_json


def _variants(data: bytes, count: int, is_json: bool):
    if is_json:
        for name, text in of_json(data.decode(), count):
            yield name, text.encode("utf-8", "surrogatepass")
    else:
        yield from of_bytes(data, count)


def _files(folder, kinds=("*",)):
    found = {file for kind in kinds for file in folder.rglob(kind) if file.is_file()}
    return sorted(str(file.relative_to(folder)) for file in found)


def _mutate(original, copy, name, count, words, scratch, capfd):
    """Runs the command on copies of a folder in which one file is mutated, or missing."""
    data = (original / name).read_bytes()
    is_json = data[:1] == b"{"
    endings = {}
    for kind, variant in [*_variants(data, count, is_json), ("missing", None)]:
        shutil.copytree(original, copy)
        if variant is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(variant)
        for line in words:
            shutil.rmtree(scratch / "out", ignore_errors=True)
            endings[f"{' '.join(line[:1])}: {name}, {kind}"] = run_command(line, scratch, capfd)
        shutil.rmtree(copy)
    return endings


@pytest.mark.slow
def test_prepared_rows(scratch, word_rows, capfd, no_training):
    recipe(scratch, scratch / "set")
    words = [["train", "tiny_recipe.py", "--run", "out"]]
    endings = {}
    for name in _files(word_rows):
        count = 30 if name.endswith(".json") else 6
        endings |= _mutate(word_rows, scratch / "set", name, count, words, scratch, capfd)
    check_all(endings)


def test_prepared_images(scratch, picture_set, capfd, no_training):
    (scratch / "images.py").write_text(
        "from jaxssl.data import Images\n"
        "from jaxssl.models import ResNetConfig\n"
        "from jaxssl.objectives import Rotation\n"
        "from jaxssl.sharding.mesh import Mesh\n"
        "from jaxssl.training.config import Pretraining\n"
        "config = Pretraining(data=Images('set', batch=8), mesh=Mesh(data=8), steps=2,\n"
        "    objective=Rotation(ResNetConfig(depth=10, width=8)))\n",
        encoding="utf-8",
    )
    words = [["train", "images.py", "--run", "out"]]
    endings = {}
    for name in _files(picture_set):
        count = 30 if name.endswith(".json") else 6
        endings |= _mutate(picture_set, scratch / "set", name, count, words, scratch, capfd)
    check_all(endings)


@pytest.mark.parametrize(
    "part",
    ["config.json", "tokenizer", "metrics", pytest.param("checkpoint", marks=pytest.mark.slow)],
)
def test_runs(scratch, masked_run, capfd, part):
    (scratch / "texts").write_text("ba de\n", encoding="utf-8")
    run = scratch / "run"
    names = [
        name
        for name in _files(masked_run)
        if (part == "checkpoint") == name.startswith("checkpoints") and name.startswith(part[:10])
    ]
    count = {"config.json": 60, "checkpoint": 5}.get(part, 12)
    words = [["embed", str(run), "texts", "--into", "vectors.npy"]]
    endings = {}
    for name in names:
        endings |= _mutate(masked_run, run, name, count, words, scratch, capfd)
    check_all(endings)
