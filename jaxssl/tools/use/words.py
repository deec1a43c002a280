"""Show the nearest neighbours of words in a run, or write all word vectors in word2vec's text format.

  jaxssl words runs/skip_gram_novels king house good
  jaxssl words runs/skip_gram_novels --into vectors.txt

The vectors are those of a word2vec run, or of any other run on text the embeddings of its input tokens.
A token that continues a word is written ##token.
"""

import argparse

from jaxssl.errors import InputError
from jaxssl.interop.word2vec import write_word2vec
from jaxssl.pretrained.words import load_word_table, show_neighbours
from jaxssl.tools.output_files import check_output_file, replaced_when_whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl words` to `parser`."""
    parser.add_argument("folder", metavar="RUN", help="folder of a pretraining run on text")
    parser.add_argument("words", nargs="*", metavar="WORD", help="words whose neighbours are shown")
    parser.add_argument(
        "--count", type=int, default=8, help="neighbours of each word (default: %(default)s)"
    )
    parser.add_argument("--into", metavar="FILE.txt", help="file to write all vectors to")


def run(options: argparse.Namespace) -> None:
    """Shows neighbours and writes the file, as `options` say."""
    if not options.words and not options.into:
        raise InputError("name words to show the neighbours of, or a file with --into")
    into = check_output_file(options.into, "--into") if options.into else None
    table = load_word_table(options.folder)
    if options.words:
        print(show_neighbours(table, options.words, options.count))
    if into is not None:
        with replaced_when_whole(into) as path:
            write_word2vec(path, table.words, table.vectors)
        count, dim = table.vectors.shape
        print(f"{count:,} words of {dim} numbers: {options.into}")
