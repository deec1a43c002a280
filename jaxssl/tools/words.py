"""Word vectors of a run: the nearest neighbours of words, and all of them in word2vec's text format.

  jaxssl words runs/skip_gram_novels king house good
  jaxssl words runs/skip_gram_novels --into vectors.txt

Of a run that is no word-vector model, the embeddings that its network reads tokens by. A token inside a
word is written ##token.
"""

import argparse

from jaxssl.errors import InputError
from jaxssl.interop.word2vec import write_word2vec
from jaxssl.pretrained.words import load_word_table, show_neighbours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `jaxssl words`."""
    parser.add_argument("folder", metavar="RUN", help="folder of a pretraining")
    parser.add_argument("words", nargs="*", metavar="WORD", help="whose neighbours are shown")
    parser.add_argument("--count", type=int, default=8, help="neighbours (default: %(default)s)")
    parser.add_argument("--into", metavar="FILE.txt", help="where all vectors are written")


def run(options: argparse.Namespace) -> None:
    """Shows neighbours, and writes the file."""
    if not options.words and not options.into:
        raise InputError("name words to show the neighbours of, or a file with --into")
    table = load_word_table(options.folder)
    if options.words:
        print(show_neighbours(table, options.words, options.count))
    if options.into:
        write_word2vec(options.into, table.words, table.vectors)
        count, dim = table.vectors.shape
        print(f"{count:,} words of {dim} numbers: {options.into}")
