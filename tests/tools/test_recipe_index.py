"""The index has every recipe once, and what it says of a recipe is what its file holds."""

import ast
import dataclasses
import re

import pytest

from jaxssl.finetuning.setup import Finetuning
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.objectives import WordVectors
from jaxssl.tools.recipe_index import INDEX, read_index, show_index
from jaxssl.tools.shipped import recipe_names, recipes_folder
from jaxssl.training.config import Pretraining, load_config

ENTRIES = read_index()


def test_every_recipe_has_one_entry_and_no_entry_is_dead():
    assert sorted(entry.name for entry in ENTRIES) == recipe_names()


def test_no_line_of_the_tables_is_left_out():
    lines = (recipes_folder() / INDEX).read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| recipe ")]
    assert len(rows) == len(ENTRIES)
    assert all(part.strip() for entry in ENTRIES for part in entry)


# Recipes whose text leaves the paper to the file of their objective.
WITHOUT_PAPER = {"chinese_encoder", "novels_encoder", "novels_gpt", "gpt2_tiny"}


def shape_of(network):
    match network:
        case TransformerConfig():
            return f"L{network.depth} H{network.width}"
        case VisionTransformerConfig():
            return f"ViT {shape_of(network.blocks)} / {network.patch}"
        case ResNetConfig():
            return f"ResNet-{network.depth}" + f" x {network.width}" * (network.width != 64)


def size_of(objective):
    """The shape of the network, of an encoder and its decoder both, as the index has it."""
    if isinstance(objective, WordVectors):
        return f"{objective.width} a word"
    networks = [getattr(objective, field.name) for field in dataclasses.fields(objective)]
    first, *others = [network for network in networks if shape_of(network)]
    if isinstance(first, TransformerConfig) and others and others[0].causal:
        assert first.width == others[0].width
        return f"L{first.depth}+{others[0].depth} H{first.width}"
    return shape_of(first)


def is_measured(minutes, text):
    """Whether a docstring has these minutes: as a number, rounded, as seconds, or in words."""
    numbers = [float(number) for number in re.findall(r"\b\d+(?:\.\d+)?", text)]
    rounded = {round(number + 1e-9) for number in numbers} | {round(n / 60) for n in numbers}
    return minutes in rounded or {5: "five"}.get(minutes, "none") in text


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_an_entry_says_what_the_recipe_holds(entry):
    path = recipes_folder() / f"{entry.name}.py"
    config = load_config(path, Finetuning if entry.is_finetuning else Pretraining)
    if entry.is_finetuning:
        assert entry.size == "of the checkpoint"
    else:
        assert entry.size == size_of(config.objective)
    text = path.read_text(encoding="utf-8")
    if year := re.search(r"\d{4}", entry.paper):
        authors = entry.paper.rpartition("(")[2].split(" et al.")[0].split(" & ")[0]
        assert authors in text or entry.name in WITHOUT_PAPER
        assert year[0] in text or entry.name in WITHOUT_PAPER
    assert "../" not in text  # nothing outside the folder that it is run in
    if published := re.fullmatch(r"(\d+ days), .* \(paper\)", entry.time):
        assert published[1] in text
    if minutes := re.match(r"(\d+) min", entry.time):
        assert is_measured(int(minutes[1]), ast.get_docstring(ast.parse(text)))


def test_the_table_has_a_line_a_recipe():
    lines = show_index(ENTRIES).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [
        "name",
        *(entry.name for entry in ENTRIES),
    ]
    assert {line for line in lines if line and not line.startswith(" ")} == {
        entry.group for entry in ENTRIES
    }
    assert max(map(len, lines)) <= 125
    (quickstart,) = [line for line in lines if line.startswith("  quickstart")]
    assert re.split(r" {2,}", quickstart.strip()) == [
        "quickstart",
        "BERT (Devlin et al. 2019)",
        "L4 H192",
        "Python's English",
        "5 min, 2 cores",
    ]
