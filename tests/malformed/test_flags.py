"""Flags of every command with values that mean nothing, or that mean something else than they say."""

import shutil

import pytest

from tests.malformed.commands import check_all, run_command
from tests.malformed.conftest import recipe

NUMBERS = ("-1", "0", "nan", "inf", "1e400", "2.5", "x", "''", "9" * 25, "9" * 5000, "None", "½")
FIELDS = (
    "steps",
    "microbatches",
    "seed",
    "average",
    "report-every",
    "evaluate-every",
    "evaluate-batches",
    "save-every",
    "restarts",
    "keep.latest",
    "keep.every",
    "data.batch",
    "optimizer.peak",
    "optimizer.clip",
    "optimizer.warmup",
    "optimizer.decay",
    "optimizer.b1",
    "optimizer.b2",
    "optimizer.epsilon",
    "optimizer.final",
    "objective.rate",
    "objective.label-smoothing",
    "objective.encoder.width",
    "objective.encoder.depth",
    "objective.encoder.heads",
    "objective.encoder.mlp",
    "objective.encoder.dropout",
    "objective.encoder.max-length",
    "objective.encoder.norm-epsilon",
    "objective.encoder.initializer-range",
    "objective.encoder.window",
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
    "hosts.stuck-after",
    "hosts.dead-after",
    "collapse.spread",
)
WORDS = (
    "--run /etc/passwd",
    "--run /proc/x",
    "--run /dev/null/x",
    "--run s3://",
    "--run foo://bar/x",
    "--run",
    "--data.path ''",
    "--data.path /dev/null",
    "--data.path /nonexistent",
    "--data.path foo://bar/x",
    "--data.path s3://",
    "--start nowhere",
    "--start ../..",
    "--code nowhere.py",
    "--code /etc/passwd",
    "--keep.best nothing",
    "--keep.best ''",
    "--objective.masking evil",
    "--objective.encoder.attention evil",
    "--objective.encoder.norm bacth",
    "--objective.encoder.compute-dtype float99",
    "--objective.encoder None",
    "--objective None",
    "--optimizer.schedule evil",
    "--optimizer",
    "--seed 1 --seed 2",
    "--nonsense 5",
    "--learning-rate 1",
    "--DATA.PATH x",
    "extra",
    "--data.weights nan",
    "--data.weights 0",
    "--data.weights 1 2",
    "--objective.shares 1 1 1",
    "--objective.shares nan nan nan",
    "--hosts.coordinator foo --hosts.count 0",
    "--config x",
)
OTHERS = (
    "",
    "--nonsense",
    "nonsense",
    "prepare",
    "prepare nowhere --into p",
    "prepare notes.txt",
    "prepare notes.txt --into ''",
    "prepare '' --into p",
    "prepare '' --size 16 --into p",
    "prepare digits --size 16 --into p --captions ''",
    "prepare . --into p --vocab-size 99999999999",
    "prepare notes.txt --into p --vocab-size -1",
    "prepare notes.txt --into p --vocab-size 0",
    "prepare notes.txt --into p --length 0",
    "prepare notes.txt --into p --length -5",
    "prepare notes.txt --into p --length 99999999999999",
    "prepare notes.txt --into p --valid 2",
    "prepare notes.txt --into p --valid nan",
    "prepare notes.txt --into p --valid nowhere",
    "prepare notes.txt --into p --workers 0",
    "prepare notes.txt --into p --workers -3",
    "prepare notes.txt --into p --shard-characters 0",
    "prepare notes.txt --into p --kind evil",
    "prepare notes.txt --into p --tokenizer nowhere",
    "prepare notes.txt --into p --tokenizer /dev/null",
    "prepare notes.txt --into p --column x --documents blank_line --length x",
    "prepare stdlib --into foo://p",
    "prepare notes.txt --into /dev/null/p",
    "prepare notes.txt --into /proc/p",
    "prepare digits --size 0 --into p",
    "prepare digits --size -4 --into p",
    "prepare digits --size 99999999 --into p",
    "prepare digits --size 16 --into p --captions nowhere",
    "prepare s3://nowhere --into p",
    "prepare tfds:nothing_of_this_name --into p",
    "prepare /dev/null --into p",
    "prepare http://127.0.0.1:1/x --into p",
    "train",
    "train nothing",
    "train quickstar",
    "train .",
    "train /etc/passwd",
    "finetune",
    "finetune nothing",
    "finetune quickstart",
    "finetune finetune_quickstart --task.checkpoint nowhere",
    "finetune finetune_quickstart --task.checkpoint ''",
    "finetune finetune_quickstart --seeds -1",
    "finetune finetune_quickstart --seeds",
    "finetune finetune_quickstart --epochs nan",
    "finetune finetune_quickstart --epochs -1",
    "finetune finetune_quickstart --batch 0",
    "finetune finetune_quickstart --data.train nowhere",
    "finetune finetune_quickstart --data.dev 7",
    "finetune finetune_quickstart --metric evil",
    "embed",
    "embed nowhere texts --into x",
    "embed . texts --into x",
    "embed /dev/null texts --into x",
    "embed RUN nowhere --into x",
    "embed RUN . --into x",
    "embed RUN texts --into nodir/x.npy",
    "embed RUN texts --into .",
    "embed RUN texts --into texts",
    "embed RUN texts --into x --pooling evil",
    "embed RUN texts --into x --code nowhere.py",
    "probe",
    "probe nowhere",
    "probe RUN",
    "probe .",
    "words nowhere the",
    "words RUN the",
    "plan nothing",
    "plan quickstart --on nonsense:9",
    "plan quickstart --on cpu:0",
    "plan quickstart --on cpu:x",
    "plan quickstart --length 0",
    "recipes nothing",
    "recipes --nonsense",
)


@pytest.fixture
def commands(scratch, word_rows, masked_run, capfd):
    """Runs lines and checks that each ended plainly."""
    (scratch / "texts").write_text("ba de\n", encoding="utf-8")
    notes = "\n\n".join(
        f"note {number}: the ship left on day {number * 7}." for number in range(99)
    )
    (scratch / "notes.txt").write_text(notes, encoding="utf-8")
    shutil.copytree(masked_run, scratch / "a_run")

    def run_all(lines):
        endings = {}
        for line in lines:
            words = ["" if word == "''" else word for word in line.split()]
            words = [str(scratch / "a_run") if word == "RUN" else word for word in words]
            endings[line[:120]] = run_command(words, scratch, capfd)
        check_all(endings)

    return run_all


@pytest.mark.slow
def test_training_fields(commands, no_training, scratch, word_rows):
    recipe(scratch, word_rows)
    commands(
        f"train tiny_recipe.py --run r{number}_{place} --{field} {value}"
        for number, field in enumerate(FIELDS)
        for place, value in enumerate(NUMBERS)
        if value == "-1" or place % 6 == number % 6
    )


def test_training_words(commands, no_training, scratch, word_rows):
    recipe(scratch, word_rows)
    commands(f"train tiny_recipe.py --run r{number} {line}" for number, line in enumerate(WORDS))


def test_other_commands(commands):
    commands(OTHERS)
