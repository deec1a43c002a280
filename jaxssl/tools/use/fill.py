"""Guess the tokens at the masks of texts with a masked language model.

  jaxssl fill runs/quickstart "the [MASK] of the list"
  jaxssl fill runs/quickstart "a [MASK] of [MASK]" "the [MASK]" --count 3
  jaxssl fill runs/quickstart --file texts.txt --json

Each [MASK] stands for one token. With --json every text has a JSON object on a line of its own: text, and
masks, for each of its masks the list of guesses with token and probability, best first.
"""

import argparse
import json
import sys

from jaxssl.data.labelled.text_lists import read_lines
from jaxssl.errors import InputError
from jaxssl.pretrained.fill import Guess
from jaxssl.trained import load_trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl fill` to `parser`."""
    parser.add_argument("folder", metavar="RUN", help="folder of a pretraining run with masked LM")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts with one [MASK] or several")
    parser.add_argument("--file", metavar="FILE", help="UTF-8 text file with one text a line")
    parser.add_argument(
        "--count", type=int, default=5, help="guesses for each mask (default: %(default)s)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object for each text, without rounding"
    )


def run(options: argparse.Namespace) -> None:
    """Prints the guesses for every mask, as `options` say."""
    if bool(options.texts) == bool(options.file):
        raise InputError("give texts with [MASK], or a file of texts with --file; one of both")
    texts = read_lines(options.file) if options.file else options.texts
    found = load_trained(options.folder).fill(texts, options.count)
    show = _as_json if options.json else _as_table
    sys.stdout.write("".join(show(text, masks) for text, masks in zip(texts, found, strict=True)))


def _as_json(text: str, masks: list[list[Guess]]) -> str:
    guesses = [
        [{"token": guess.text, "probability": guess.probability} for guess in mask]
        for mask in masks
    ]
    return json.dumps({"text": text, "masks": guesses}, ensure_ascii=False) + "\n"


def _as_table(text: str, masks: list[list[Guess]]) -> str:
    """The text, and below it a column for each mask."""
    cells = [[f"{guess.text}  {guess.probability:.1%}" for guess in mask] for mask in masks]
    widths = [max(map(len, column)) for column in cells]
    rows = [
        "  "
        + "    ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*cells, strict=True)
    ]
    return "\n".join([text, *rows]) + "\n"
