"""The documentation without building it: the table of contents, links, code blocks, and what is generated."""

import ast
import configparser
import importlib
import re
import sys
from pathlib import Path

import pytest

from jaxssl.finetuning.setup import Finetuning
from jaxssl.training.config import Pretraining, check_flags, load_config

DOCS = Path("docs")
PAGES = sorted(DOCS.rglob("*.md"))
TOCTREE = re.compile(r"```\{toctree\}\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
DOCUMENT = re.compile(r"\{doc\}`(?:[^`<]*<([^`>]+)>|([^`]+))`")
PYTHON = re.compile(r"^```(?:python|\{code-cell\}.*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def module_of_docs(monkeypatch):
    """Imports a module of docs/, as Sphinx does."""
    monkeypatch.syspath_prepend(str(DOCS))

    def load(name):
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    return load


def test_every_page_is_in_the_table_of_contents_once():
    listed = []
    for page in PAGES:
        for entries in TOCTREE.findall(page.read_text(encoding="utf-8")):
            names = [line for line in entries.split("\n") if line and not line.startswith(":")]
            listed += [page.parent / f"{name}.md" for name in names]
    assert sorted(listed) == [page for page in PAGES if page != DOCS / "index.md"]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_relative_links_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        path = link.partition("#")[0]
        if path and "://" not in link:
            assert (page.parent / path).exists(), link
    for named, plain in DOCUMENT.findall(text):
        assert (page.parent / f"{named or plain}.md").exists(), named or plain


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_python_compiles(page):
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        code = re.sub(r"^%%writefile .*\n", "", block)
        ast.parse(re.sub(r"^…$", "...", code, flags=re.MULTILINE))


def test_pages_import_names_that_exist():
    blocks = [b for page in PAGES for b in PYTHON.findall(page.read_text(encoding="utf-8"))]
    found = 0
    for block in blocks:
        for node in ast.walk(ast.parse(re.sub(r"^%%writefile .*\n", "", block))):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "jaxssl":
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
                    found += 1
    assert found > 20


def test_nothing_is_loaded_from_other_hosts():
    text = (DOCS / "conf.py").read_text(encoding="utf-8")
    assert "nb_ipywidgets_js = {}" in text
    assert not re.search(r"https?://|intersphinx_mapping", text)
    for style in (DOCS / "static").iterdir():
        assert not re.search(r"https?://|@import", style.read_text(encoding="utf-8"))


def test_reference_has_every_exported_name(module_of_docs):
    reference = module_of_docs("public_names").reference_of("jaxssl.losses")
    for name in importlib.import_module("jaxssl.losses").__all__:
        assert f":: jaxssl.losses.{name}\n" in reference
    assert "## contrastive\n" in reference


def test_docstrings_become_restructured_text(module_of_docs):
    to_rst = module_of_docs("restructured_text").to_rst
    text = to_rst(
        "Computes a*b for `x_`.\n\nThe equations:\n\n    y = a * x_\n\n    z = y\n\nbatch    rows\n\n"
        "Args:\n  x_: Rows, `[batch]`.\n\nReturns:\n  The parts by name: a, b.\n"
    )
    assert "Computes a\\*b for ``x_``." in text
    assert "::\n\n        y = a * x_\n    \n        z = y\n" in text
    assert "::\n\n    batch    rows" in text
    assert "Args:\n  x\\_: Rows, ``[batch]``." in text
    assert ":returns:\n    The parts by name: a, b." in text
    example = to_rst("Runs.\n\nExample:\n\n    a_ = run(*b)\n")
    assert ".. rubric:: Example\n\n::\n\n    a_ = run(*b)" in example


def test_index_of_recipes_has_every_recipe(module_of_docs):
    index = module_of_docs("recipes_index").recipes()
    names = {path.stem for path in Path("configs").glob("*.py")}
    assert {name for name in names if f"\n### {name}\n" in index} == names
    assert "| [simclr_cifar10](#recipe-simclr-cifar10) |" in index
    assert "`SimCLR`" in index
    assert "`Classify`" in index


def test_what_is_installed_is_published():
    """jaxssl itself is installed from a clone; its extras are packages that can be named."""
    cfg = configparser.ConfigParser()
    cfg.read("setup.cfg", encoding="utf-8")
    extras = cfg["options.extras_require"]
    known = {re.split("[>=]", line)[0] for extra in extras for line in extras[extra].split()}
    known |= {"jax", "jaxtyping"}
    sources = [*Path("jaxssl").rglob("*.py"), *PAGES, Path("README.md")]
    command = re.compile(r"pip\s+install\s+(?:-[^\s`]+\s+)*['\"]*([\w.][\w.\[\]-]*)")
    names = [name for path in sources for name in command.findall(path.read_text(encoding="utf-8"))]
    assert len(names) > 12
    assert [name for name in names if name not in known and not name.startswith(".")] == []


def test_the_commands_for_clusters_have_flags_that_exist():
    config = load_config("configs/bert_base.py", Pretraining)
    text = (DOCS / "hosts.md").read_text(encoding="utf-8").replace("\\\n", " ")
    flags = set(re.findall(r"--(?:run|restarts|(?:data|hosts|mesh)\.[a-z-]+)", text))
    assert len(flags) > 8
    check_flags(config, sorted(flags))


COMMAND = re.compile(r"jaxssl (train|finetune) ([a-z]\w+)((?: +--[\w.-]+(?: +[^-\s`]\S*)*)*)")


def test_commands_of_the_pages_have_recipes_and_fields_that_exist():
    checked = 0
    for page in [*PAGES, Path("README.md")]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for command, name, rest in COMMAND.findall(text):
            recipe = Path(f"configs/{name}.py")
            if not recipe.exists():
                assert f"{name}.py" in text, name  # a recipe that the page lets the reader write
                continue
            flags = set(re.findall(r"--[\w.-]+", rest)) - {"--help", "--code"}
            kind = Finetuning if command == "finetune" else Pretraining
            check_flags(load_config(recipe, kind), sorted(flags))
            checked += 1
    assert checked > 15
