"""The command `jaxssl`: a table of subcommands, each a module with `add_arguments` and `run`."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import jaxssl
from jaxssl.tools.errors import one_line_errors


class Command(NamedTuple):
    """A subcommand, imported only when it is called."""

    module: str
    purpose: str
    takes_config: bool = False  # flags that it does not know itself change fields of a recipe


COMMANDS = {
    "prepare": Command("jaxssl.tools.prepare", "raw text or images to a set that train.py reads"),
    "plan": Command(
        "jaxssl.tools.plan", "what a run takes on TPUs or GPUs that are not here", True
    ),
    "embed": Command("jaxssl.tools.embed", "a vector for every text, by a pretrained network"),
    "probe": Command("jaxssl.tools.probe", "how well labels follow from the features of images"),
    "words": Command("jaxssl.tools.words", "word vectors of a run: neighbours, word2vec format"),
}

DESCRIPTION = """\
Self-supervised pretraining in JAX: raw text or images to a checkpoint, a finetuned model, an export.
"""

EPILOG = """\
from text to a model:
  jaxssl prepare texts/ --into prepared/texts
  python train.py --config configs/bert_small.py --data.path prepared/texts
  python finetune.py --config CONFIG

`jaxssl COMMAND --help` tells the options of a command.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a subcommand. Exit codes: 0 done, 2 the input is wrong, 130 interrupted."""
    with one_line_errors():
        _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        "jaxssl",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jaxssl {jaxssl.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.purpose,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=not command.takes_config,
        )
        if name == next((word for word in arguments if not word.startswith("-")), None):
            module = importlib.import_module(command.module)
            subparser.description = module.__doc__
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run, takes_config=command.takes_config)
    options, unknown = parser.parse_known_args(arguments)
    if unknown and not options.takes_config:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.config_flags = unknown
    options.run(options)


if __name__ == "__main__":
    main()
