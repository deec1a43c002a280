"""The commands that README, docs, help, recipes and benchmarks/RESULTS.md show parse as they stand."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest

from jaxssl.finetuning.setup import Finetuning
from jaxssl.planning import refusals
from jaxssl.planning.counts import mesh_sizes
from jaxssl.planning.targets import read_target
from jaxssl.tools.main import COMMANDS, EPILOG, make_parser
from jaxssl.tools.prepare import OF_TEXT
from jaxssl.tools.prepare_images import check_kind
from jaxssl.training.config import Pretraining, check_flags, load_config, read_config

PAGES = [Path("README.md"), Path("CHANGELOG.md"), *sorted(Path("docs").rglob("*.md"))]
RECIPES = sorted(Path("configs").glob("*.py"))
PARSED = (
    *("prepare", "import", "embed", "search", "export", "fill", "generate"),
    *("probe", "words", "recipes", "plan"),
)
FLAG = re.compile(r"--[a-z][\w.-]*\w")
FENCED = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGE = re.compile(r"python (train|finetune)\.py --config configs/(\w+)\.py(.*)")
BENCHMARK = re.compile(r"`python (?:-m benchmarks\.|benchmarks/)(\w+)(?:\.py)?([^`]*)`")


def lines_of(text):
    """The lines of a text, those that end with a backslash joined to the next, without comments."""
    joined = re.sub(r"\\+\n\s*", "", text)
    return [line.split("  #")[0].strip() for line in joined.splitlines()]


def check_fields(recipe, text):
    """Checks that every flag in `text` is a field of a recipe."""
    kind = Finetuning if recipe.stem.startswith("finetune") else Pretraining
    check_flags(load_config(recipe, kind), sorted(set(FLAG.findall(text)) - {"--code", "--help"}))


def check_command(line):
    """Parses a line such as `jaxssl prepare …`, whose further words may be explained after two spaces."""
    line = line.replace("plan …", "plan gpt2_small --microbatches 1")  # as docs/scaling.md says
    words = shlex.split(re.split(r" {2,}", line)[0])
    if words[1] == "plan":
        check_plan(*make_parser("plan").parse_known_args(words[1:]))
        return
    options = make_parser(words[1]).parse_args(words[1:])
    if words[1] == "prepare":
        check_kind(options, OF_TEXT)


def check_plan(options, flags):
    """Checks that a plan is not refused before its step is compiled."""
    recipe = f"configs/{Path(options.config).stem}.py"
    config = read_config(Pretraining, "", ["--config", recipe, *flags])
    target = read_target(options.on.replace("TARGET", "v5e:16x16"), options.slices)
    sizes = mesh_sizes(config, target)
    refusals.check_batch(config, sizes)
    refusals.check_heads(config, sizes)
    refusals.check_slices(sizes, target)


def is_parsed(line):
    """Whether a line is a command whose parser knows all of its options."""
    words = line.split()
    return words[:1] == ["jaxssl"] and len(words) > 1 and words[1] in PARSED


def test_commands_of_the_pages_parse():
    blocks = [block for page in PAGES for block in FENCED.findall(page.read_text(encoding="utf-8"))]
    commands = [line for block in blocks for line in lines_of(block) if is_parsed(line)]
    assert len(commands) > 20
    for command in commands:
        check_command(command)


@pytest.mark.parametrize("name", ["jaxssl", *COMMANDS])
def test_examples_of_the_help_parse(name):
    text = EPILOG if name == "jaxssl" else importlib.import_module(COMMANDS[name].module).__doc__
    commands = [line for line in lines_of(text) if line.startswith("jaxssl ")]
    assert commands
    for command in commands:
        if is_parsed(command):
            check_command(command)
        elif Path(recipe := f"configs/{command.split()[2]}.py").exists():
            check_fields(Path(recipe), command)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_names_options_and_fields_that_exist(recipe):
    lines = lines_of(ast.get_docstring(ast.parse(recipe.read_text(encoding="utf-8"))))
    prose = []
    for line in lines:
        if is_parsed(line):
            check_command(line)
        elif found := PAGE.match(line):
            check_fields(Path(f"configs/{found[2]}.py"), found[3])
        else:
            prose.append(line)
    of_prepare = {"--length"}  # simcse_novels says in words how its sentences are prepared
    check_fields(recipe, " ".join(set(FLAG.findall(" ".join(prose))) - of_prepare))


def test_commands_of_the_benchmarks_have_what_their_parsers_need():
    text = Path("benchmarks/RESULTS.md").read_text(encoding="utf-8")
    found = BENCHMARK.findall(text.replace("\n", " "))
    assert len(found) > 9
    for name, rest in found:
        tree = ast.parse(Path(f"benchmarks/{name}.py").read_text(encoding="utf-8"))
        options, required, positional = set(), set(), 0
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith(
                "add_argument"
            ):
                continue
            keywords = {keyword.arg for keyword in node.keywords}
            option = ast.literal_eval(node.args[0])
            if not option.startswith("--"):
                is_needed = "nargs" not in keywords or "'+'" in ast.unparse(node)
                positional += is_needed
                continue
            options.add(option)
            if "required" in keywords:
                required.add(option)
        flags, words = set(FLAG.findall(rest)), [w for w in rest.split() if not w.startswith("--")]
        assert required <= flags <= options, name
        assert len(words) >= positional, name


def test_pages_run_with_the_recipes_that_results_name():
    text = Path("benchmarks/RESULTS.md").read_text(encoding="utf-8")
    for _, name, rest in PAGE.findall(text):
        check_fields(Path(f"configs/{name}.py"), rest.split("`")[0])
