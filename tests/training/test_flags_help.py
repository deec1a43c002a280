"""The help: short without a recipe; with one, its docstring and every field in a group with a sentence."""

import dataclasses
import sys
from pathlib import Path

import pytest

from jaxssl.training.config import Pretraining, load_config, read_config
from jaxssl.training.flags import as_flag, field_names
from jaxssl.training.flags_help import GROUPS, docstring_of, help_of

RECIPES = ["configs/quickstart.py", "configs/simclr_cifar10.py", "configs/gpt2_tiny.py"]


def test_without_a_recipe_the_help_is_short(capsys):
    for flag in ("-h", "--help"):
        with pytest.raises(SystemExit) as end:
            read_config(Pretraining, "Pretrains a model.", [flag])
        assert end.value.code == 0
        shown = capsys.readouterr().out
        assert shown.startswith("Pretrains a model.\n\n--config FILE ")
        assert len(shown) < 600


def test_with_a_recipe_the_help_is_its_own(capsys):
    with pytest.raises(SystemExit) as end:
        read_config(Pretraining, "not this", ["--config", RECIPES[0], "--steps", "5", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert (
        shown
        == help_of(
            load_config(RECIPES[0], Pretraining),
            docstring_of(RECIPES[0]),
            shown.splitlines()[0].removeprefix("usage: ").removesuffix(" [--FIELD VALUE …]"),
        )
        + "\n"
    )
    assert docstring_of(RECIPES[0]) in shown


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_field_has_its_sentence_below_it(recipe):
    config = load_config(recipe, Pretraining)
    lines = help_of(config, "", "train.py").splitlines()
    flags = {
        line.split()[0]: number for number, line in enumerate(lines) if line.startswith("    --")
    }
    names = {as_flag(name) for name in field_names(config)}
    assert flags.keys() <= names
    # what is left out are fields that hold objects, such as sources
    assert len(names - flags.keys()) <= 6
    for number in flags.values():
        sentence = lines[number + 1].strip()
        assert sentence[0].isupper() or sentence[0] == "`", sentence
    titles = [line.removesuffix(":") for line in lines if line and line[0].isupper()]
    assert titles == list(GROUPS)


def test_kinds_of_values():
    config = load_config(RECIPES[0], Pretraining)
    shown = help_of(config, "", "train.py")
    for line in (
        "--steps INT  (default: 600)",
        "--average FLOAT|None  (default: None)",
        "--optimizer.schedule cosine|linear|constant|warmup_stable_decay",
        "--objective.shares FLOAT FLOAT FLOAT  (default: 0.8 0.1 0.1)",
        "--keep.highest | --keep.no-highest  (default: False)",
        "--data.weights FLOAT ...  (default: none)",
        "--start STR  (default: empty)",
    ):
        assert f"    {line}" in shown


def test_fields_of_the_users_own_are_explained(tmp_path):
    recipe = tmp_path / "own_recipe.py"
    text = (
        Path(RECIPES[0])
        .read_text()
        .replace(
            "config = Pretraining(",
            """
import dataclasses
import sys
from pathlib import Path
import sys
from pathlib import Path

@dataclasses.dataclass(frozen=True)
class Mine(MaskedLM):
    "My task."
    extra: int = 3
    "How much of it."

config = Pretraining(""",
        )
    )
    recipe.write_text(text)
    config = load_config(recipe, Pretraining)
    kind = sys.modules["own_recipe"].Mine
    fields = {
        f.name: getattr(config.objective, f.name) for f in dataclasses.fields(config.objective)
    }
    shown = help_of(dataclasses.replace(config, objective=kind(**fields)), "", "train.py")
    assert "  objective: Mine. My task." in shown
    assert "    --objective.extra INT  (default: 3)\n        How much of it." in shown
