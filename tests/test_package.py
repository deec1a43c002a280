"""The package: light to import, and a wheel that trains in an empty folder with its dependencies alone."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path

import pytest

import jaxssl
from tests.data.tiny_corpus import ENVIRONMENT
from tests.quick_programs import xla_flags

ROOT = Path(jaxssl.__file__).parents[1]
# What a wheel is built from; tests, documents and benchmarks are not.
SOURCES = (
    "jaxssl",
    "configs",
    "train.py",
    "finetune.py",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
)
SOURCES += ("README.md", "LICENSE", "MANIFEST.in")
TINY = ["--evaluate-every", "2", "--save-every", "2", "--report-every", "1", "--data.batch", "8"]
TINY += ["--steps", "2", "--evaluate-batches", "1"]
TINY += ["--objective.encoder.depth", "1", "--objective.encoder.width", "48"]


def python(*arguments, **options):
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_importing_the_package_imports_no_jax():
    code = "import sys, jaxssl; print(sorted({'jax', 'numpy', 'flax'} & set(sys.modules)), jaxssl.load)"
    assert python("-c", code, env=ENVIRONMENT).startswith("[] <function load")


def test_the_package_is_the_command():
    printed = python("-m", "jaxssl", "--version", env=ENVIRONMENT)
    assert printed == f"jaxssl {jaxssl.__version__}\n"


def test_extras():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    assert "jaxssl[test]" in extras["dev"].split()
    assert "safetensors" in config["options"]["install_requires"]  # search keeps its index in it


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from a copy of the sources with more in its root than belongs into it."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    (source / "stray.py").write_text("1 / 0\n")
    for name in ("tests", "docs", "runs"):
        (source / name).mkdir()
        (source / name / "__init__.py").touch()
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    python("-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source))
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_what_the_wheel_holds(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        head = HeaderParser().parsestr(archive.read(metadata).decode())
    code = {name for name in names if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jaxssl").rglob("*.py")}
    recipes = {f"jaxssl/recipes/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    others = {"jaxssl/recipes/README.md", "jaxssl/py.typed"}
    assert code == modules | recipes | others | {
        "jaxssl/pages/train.py",
        "jaxssl/pages/finetune.py",
    }
    assert any(name.endswith("/LICENSE") for name in names)
    assert head["Name"] == "jaxssl"
    assert head["Version"] == jaxssl.__version__
    assert head["License-Expression"] == "Apache-2.0"
    assert "Operating System :: POSIX" in head.get_all("Classifier")
    assert head["Keywords"]
    assert head["Author"]


def check_the_way_out(folder, settings):
    """The run is embedded with and exported by commands, and loads in transformers, if that is installed."""
    (folder / "texts.txt").write_text("two dogs run\na cat sleeps\n")
    words = ["embed", "runs/quickstart", "texts.txt", "--into", "vectors.npy"]
    assert "2 texts, 48 numbers each" in python("-m", "jaxssl", *words, **settings)
    words = ["export", "runs/quickstart", "out"]
    assert "RobertaPreLayerNormForMaskedLM" in python("-m", "jaxssl", *words, **settings)
    for exported in ("out", "runs/quickstart/exported"):  # the second is the run's own
        proof = json.loads((folder / exported / "proof.json").read_text())
        assert proof["largest_difference"] <= 1e-5
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        return
    code = (
        "from transformers import AutoModelForMaskedLM, AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained('out')\n"
        "model = AutoModelForMaskedLM.from_pretrained('out')\n"
        "print(model(**tokenizer('two dogs run', return_tensors='pt')).logits.shape[2])"
    )
    assert python("-c", code, **settings).split()[-1] == "4096"


@pytest.mark.slow
def test_the_wheel_trains_and_finetunes_in_an_empty_folder(wheel, tmp_path):
    site, folder, began = tmp_path / "site", tmp_path / "empty", time.perf_counter()
    folder.mkdir()
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(site)]
    python("-m", "pip", "install", *options, str(wheel))
    settings = {
        "cwd": folder,
        "env": {**os.environ, "PYTHONPATH": str(site), "XLA_FLAGS": xla_flags(1)},
    }
    where = python("-c", "import jaxssl; print(jaxssl.__file__)", **settings)
    assert where.strip() == str(site / "jaxssl" / "__init__.py")
    assert "  quickstart " in python(str(site / "bin" / "jaxssl"), "recipes", **settings)
    copied = python("-m", "jaxssl", "recipes", "quickstart", "--copy", "mine.py", **settings)
    assert "run it: jaxssl train mine.py" in copied
    printed = python("-m", "jaxssl", "train", "quickstart", *TINY, **settings)
    assert "step       2 of 2" in printed
    check_the_way_out(folder, settings)
    more = ["--seeds", "0", "--data.train-examples", "64", "--evaluate-batch", "64"]
    printed = python(
        "-m", "jaxssl", "finetune", "finetune_quickstart", "--steps", "2", *more, **settings
    )
    assert "step       2 of 2" in printed
    code = (
        "import jaxssl\n"
        "model = jaxssl.load('runs/quickstart')\n"
        "print(model.embed('a text').shape, len(model.fill('a [MASK] of it')[0]))\n"
        "print(jaxssl.load('runs/finetune_quickstart').predict('Parse a mail.'))"
    )
    shape, label = python("-c", code, **settings).splitlines()
    assert shape == "(48,) 5"
    assert label in (
        "asyncio",
        "email",
        "importlib",
        "logging",
        "multiprocessing",
        "tkinter",
        "unittest",
        "xml",
    )
    written = ["mine.py", "out", "prepared", "runs", "texts.txt", "vectors.npy"]
    assert sorted(path.name for path in folder.iterdir()) == written
    seconds = time.perf_counter() - began
    print(f"from the wheel to transformers, with a quickstart of two steps: {seconds:.0f} s")
    assert seconds < 600
