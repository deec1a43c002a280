"""Flags: names of other libraries lead to ours, nothing else is suggested, and odd values are one line."""

import dataclasses
import math
from pathlib import Path

import pytest

from jaxssl.errors import InputError
from jaxssl.training.config import Pretraining, load_config, read_config
from jaxssl.training.flags import FIELDS_OF, check_flags, check_values, field_names, in_one_line

QUICK, IMAGES = "configs/quickstart.py", "configs/simclr_cifar10.py"


@pytest.fixture(scope="module")
def quick():
    return load_config(QUICK, Pretraining)


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("--learning-rate", "--optimizer.peak"),
        ("--learning_rate=1e-3", "--optimizer.peak"),
        ("--lr", "--optimizer.peak"),
        ("--optimizer.lr", "--optimizer.peak"),
        ("--batch-size", "--data.batch"),
        ("--gradient-accumulation", "--microbatches"),
        ("--gradient-accumulation-steps", "--microbatches"),
        ("--grad-accum-steps", "--microbatches"),
        ("--accumulate_grad_batches=4", "--microbatches"),
        ("--bs", "--data.batch"),
        ("--weight-decay", "--optimizer.decay"),
        ("--epochs", "--steps"),
        ("--output-dir", "--run"),
        ("--hidden-size", "--objective.encoder.width"),
        ("--width", "--objective.encoder.width"),
        ("--data_path", "--data.path"),
        ("--data-batch", "--data.batch"),
        ("--no-collapse.stop", "--collapse.stop"),
        ("--objective.encoder.widht", "--objective.encoder.width"),
        ("--report-evrey", "--report-every"),
    ],
)
def test_what_was_probably_meant(quick, flag, field):
    with pytest.raises(InputError, match=rf"there is no field {flag.split('=')[0]}; .*{field};"):
        check_flags(quick, [flag])


def test_a_finetuning_has_fields_of_its_own():
    from jaxssl.finetuning.setup import Finetuning

    config = load_config("configs/finetune_text.py", Finetuning)
    for flag, field in (
        ("--lr", "--optimizer.peak"),
        ("--batch-size", "--batch"),
        ("--num-train-epochs", "--epochs"),
        ("--max-seq-length", "--data.length"),
        ("--model-name-or-path", "--task.checkpoint"),
        ("--train-file", "--data.train"),
        ("--dropout", "--task.dropout"),
    ):
        with pytest.raises(InputError, match=f"it is named {field};"):
            check_flags(config, [flag])


@pytest.mark.parametrize("flag", ["--nonsense", "--lrr", "--foo.bar", "--", "--gpu", "--hostname"])
def test_nothing_is_suggested_for_what_is_like_nothing(quick, flag):
    with pytest.raises(InputError) as told:
        check_flags(quick, [flag])
    assert str(told.value) == f"there is no field {flag}; --help lists all"


def test_a_group_is_no_field(quick):
    for flag in ("--optimizer", "--objective", "--data.prepare"):
        with pytest.raises(
            InputError, match=rf"no field {flag}, but a group of fields such as {flag}\."
        ):
            check_flags(quick, [flag, "None"])


def test_every_alias_leads_to_a_field_of_a_recipe(quick):
    from jaxssl.finetuning.setup import Finetuning

    known = {*field_names(quick), *field_names(load_config("configs/gpt2_tiny.py", Pretraining))}
    known |= set(field_names(load_config("configs/finetune_sst2.py", Finetuning)))
    known |= set(field_names(load_config(IMAGES, Pretraining)))
    assert {field for fields in FIELDS_OF.values() for field in fields} <= known
    assert not set(FIELDS_OF) & set(field_names(quick))


@pytest.mark.parametrize(
    "flags",
    [
        "--seed 1 --seed 2",
        "--seed=1 --seed 2",
        "--report-every 1 --report_every 2",
        "--keep.highest --keep.no-highest",
        "--data.path a --steps 2 --data.path b",
        f"--config {QUICK}",
    ],
)
def test_a_flag_that_is_given_twice_is_an_error(flags):
    with pytest.raises(InputError, match=r"--[a-z.-]+ is given twice; give it once"):
        read_config(Pretraining, "", ["--config", QUICK, *flags.split()])


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--steps many", "--steps: 'many' is no whole number"),
        ("--steps 1e3", "'1e3' is no whole number"),
        ("--steps 99999999999999999999", "--steps 99999999999999999999 is beyond the largest"),
        ("--report-every 99999999999999999999", "is beyond the largest number, 2,147,483,647"),
        ("--seed 99999999999999999999", "99999999999999999999"),
        ("--seed -1", "seed=-1 must be at least 0"),
        ("--steps", "Missing value for argument '--steps'"),
        ("--optimizer.peak nan", "nan"),
        ("--optimizer.peak inf", "inf"),
        ("--optimizer.peak x", "--optimizer.peak: 'x' is no number"),
        ("--optimizer.schedule evil", "invalid choice 'evil'"),
        ("--objective.shares 1", "Missing value for argument '--objective.shares'"),
        ("--data.weights x", "['x'] is of another type"),
        ("--run a\0b", "--run 'a\\x00b' holds characters that no name or path can have"),
        ("--run a\udcff", "holds characters that no name or path can have"),
        ("extra", "Unrecognized options: extra"),
        ("--collapse.stop maybe", "Unrecognized options: maybe"),
        ("-x", "Unrecognized options: -x"),
    ],
)
def test_odd_values_are_one_line(flags, line, capsys):
    with pytest.raises(InputError) as told:
        read_config(Pretraining, "", ["--config", QUICK, *flags.split(" ")])
    assert line in str(told.value)
    assert "\n" not in str(told.value)
    assert "─" not in str(told.value)
    assert capsys.readouterr() == ("", "")


def test_tyros_boxes_become_one_line():
    told = "│ Error parsing --steps: invalid literal for int() with base 10: 'x' │"
    text, rule = told.strip("│ "), "─" * 9
    boxes = {
        "unicode": [f"╭─ Value error {rule}╮", told, f"│ {rule} │", "│ helptext │", f"╰{rule}╯"],
        "ascii": [
            " Value error",
            " ---------",
            f"  {text}",
            "  ---------",
            "  helptext",
            " --------",
        ],
        "wrapped": [
            f"╭─ Value error {rule}╮",
            *told.replace(" for", " │+│ for").split("+"),
            f"╰{rule}╯",
        ],
        "short": [" Value error", " ---------", f"  {text}."],
    }
    for lines in boxes.values():
        assert in_one_line("\n".join(lines)).replace("  ", " ") == (
            "--steps: 'x' is no whole number; --help lists all fields"
        )


def test_an_empty_run_is_named_for_the_recipe():
    assert read_config(Pretraining, "", ["--config", QUICK, "--run", ""]).run == "runs/quickstart"
    with pytest.raises(InputError, match="--data.path '' must not be empty"):
        read_config(Pretraining, "", ["--config", QUICK, "--data.path", ""])


@dataclasses.dataclass(frozen=True)
class Part:
    rate: float = 0.5
    count: int = 3
    name: str = "a"


@dataclasses.dataclass(frozen=True)
class Whole:
    part: Part = Part()
    rates: tuple[float, ...] = ()
    note: str = ""


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"part": Part(rate=math.nan)}, "--part.rate nan must be a finite number"),
        ({"rates": (0.5, -math.inf)}, "--rates -inf must be a finite number"),
        ({"part": Part(count=2**31)}, "--part.count 2147483648 is beyond the largest number"),
        ({"part": Part(name="")}, "--part.name '' must not be empty"),
        ({"note": "a\nb"}, r"--note 'a\\nb' holds characters"),
    ],
)
def test_values_that_no_field_can_mean(changes, line):
    changed = dataclasses.replace(Whole(), **changes)
    with pytest.raises(InputError, match=line):
        check_values(changed, Whole())
    check_values(changed, changed)  # the recipe itself says so
    check_values(dataclasses.replace(Whole(), note=""), Whole(note="a"))  # empty by default


@pytest.mark.parametrize("arguments", [["--config"], ["--config", QUICK, "--code"]])
def test_a_missing_file_is_one_line(arguments):
    with pytest.raises(InputError, match="expected one argument"):
        read_config(Pretraining, "", arguments)


def test_values_of_the_recipe_are_let_through(tmp_path):
    recipe = tmp_path / "mine.py"
    text = (
        Path(QUICK)
        .read_text()
        .replace("config = Pretraining(", "config = Pretraining(\n    average=None,")
    )
    recipe.write_text(text)
    assert math.isfinite(read_config(Pretraining, "", ["--config", str(recipe)]).optimizer.peak)
