"""The command `jaxssl`: a table of subcommands, each a module with `add_arguments` and `run`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import jaxssl
from jaxssl.errors import InputError
from jaxssl.exit_codes import exit_code_table
from jaxssl.runs.modules import load_code
from jaxssl.tools.errors import one_line_errors


class Command(NamedTuple):
    """A subcommand, whose module is imported only when it is called."""

    module: str
    """Module with the functions `add_arguments(parser)` and `run(options)`."""
    purpose: str
    """One line for `jaxssl --help`."""
    takes_config: bool = False
    """Whether flags that the command does not know itself change fields of a recipe."""
    takes_code: bool = False
    """Whether `--code FILE.py` is an option: the command reads a run, which may need classes of the user."""


COMMANDS = {
    "recipes": Command(
        "jaxssl.tools.recipes", "list, show or copy the recipes that come with jaxssl"
    ),
    "prepare": Command("jaxssl.tools.prepare", "turn text or images into a set to train on"),
    "train": Command("jaxssl.tools.train", "pretrain a model as a recipe says", takes_config=True),
    "finetune": Command(
        "jaxssl.tools.finetune",
        "finetune a pretrained network on labelled texts",
        takes_config=True,
    ),
    "embed": Command(
        "jaxssl.tools.use.embed", "embed texts with a pretrained network", takes_code=True
    ),
    "fill": Command("jaxssl.tools.use.fill", "guess the masked tokens of texts", takes_code=True),
    "generate": Command(
        "jaxssl.tools.use.generate", "go on with texts, as a language model writes", takes_code=True
    ),
    "search": Command(
        "jaxssl.tools.use.search",
        "find the texts that are most similar to a query",
        takes_code=True,
    ),
    "probe": Command(
        "jaxssl.tools.use.probe", "judge the features of images by their labels", takes_code=True
    ),
    "words": Command(
        "jaxssl.tools.use.words", "show neighbours of words, write word vectors", takes_code=True
    ),
    "export": Command(
        "jaxssl.tools.use.export",
        "write a pretrained network for transformers and other tools",
        takes_code=True,
    ),
    "import": Command("jaxssl.tools.import_folder", "import a Hugging Face folder as a run"),
    "plan": Command(
        "jaxssl.tools.plan",
        "plan a run for TPUs or GPUs that this machine lacks",
        takes_config=True,
        takes_code=True,
    ),
}

DESCRIPTION = """\
Self-supervised pretraining in JAX: raw text or images in; a checkpoint and a finetuned model out.
"""

EPILOG = f"""\
in an empty folder, without a download:
  jaxssl train quickstart
  jaxssl finetune finetune_quickstart

with text of your own:
  jaxssl prepare texts/ --into prepared/texts
  jaxssl train bert_small --data.path prepared/texts --run runs/texts
  jaxssl finetune finetune_text --task.checkpoint runs/texts --data.train labelled.tsv

`jaxssl COMMAND --help` explains the options of a command.

exit codes:
{exit_code_table()}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a subcommand and exits with 2 if the input is wrong, with 130 if it is interrupted.

    Args:
      arguments: Words behind `jaxssl`; None takes those of this process.
    """
    with one_line_errors():
        _run(list(sys.argv[1:] if arguments is None else arguments))


class OneLineParser(argparse.ArgumentParser):
    """A parser that tells what is wrong in one line, and refuses an option that is given twice."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError with `message` instead of printing how the command is used."""
        raise InputError(f"{message}; `{self.prog} --help` explains all options")

    def check_once(self, arguments: Sequence[str]) -> None:
        """Raises InputError if one of the words `arguments` is an option that has occurred before."""
        seen: set[str] = set()
        for word in arguments:
            name, known = word.split("=")[0], self._option_string_actions
            if self.allow_abbrev and name not in known and name.startswith("--"):
                name = next((option for option in known if option.startswith(name)), name)
            action = known.get(name)
            if action is None or isinstance(action, argparse._AppendAction):
                continue
            if action.dest in seen:
                self.error(f"{name} is given twice; give it once")
            seen.add(action.dest)


def make_parser(chosen: str | None) -> OneLineParser:
    """Makes the parser of the command line.

    Args:
      chosen: Name of the subcommand whose module is imported and whose options are added; None adds none.
    """
    parser = OneLineParser(
        "jaxssl",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"jaxssl {jaxssl.__version__}",
        help="print the version and exit",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.purpose,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=not command.takes_config,
        )
        if name == chosen:
            _add_options(subparser, command)
    return parser


def _add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    module = importlib.import_module(command.module)
    parser.description = module.__doc__
    module.add_arguments(parser)
    if command.takes_code:
        parser.add_argument(
            "--code",
            action="append",
            default=[],
            metavar="FILE.py|MODULE",
            help="run this file, or import this module, first: it defines classes of your own that the run "
            "uses; may be repeated",
        )
    parser.set_defaults(run=module.run, takes_config=command.takes_config, parser=parser)


def _run(arguments: list[str]) -> None:
    parser = make_parser(next((word for word in arguments if not word.startswith("-")), None))
    options, unknown = parser.parse_known_args(arguments)
    if unknown and not options.takes_config:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.parser.check_once(arguments)
    options.config_flags = unknown
    load_code(getattr(options, "code", ()))
    options.run(options)


if __name__ == "__main__":
    main()
