"""Search a corpus for the texts that are most similar to a query, by the vectors of a pretrained network.

  jaxssl search hf:all-MiniLM-L6-v2 sentences.txt "two dogs run"
  jaxssl search runs/simcse_novels papers.csv --column title --queries questions.txt --index papers.index

The corpus is text with one text a line, or a table (.tsv, .csv, .jsonl, .parquet). All of its texts are
compared with every query. With --index its vectors are kept in a file, and computed again only where the
corpus or the network has changed.
"""

import argparse
import json

from jaxssl.data.labelled.text_lists import TextList, read_lines, read_texts
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.pretrained.search import Match, build_index, check_index_file, open_index
from jaxssl.pretrained.texts import load_embedder
from jaxssl.tools.output_files import check_output_file
from jaxssl.tools.use.embed import add_text_options

LONGEST_LINE = 160  # characters of a text that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl search` to `parser`."""
    parser.add_argument(
        "folder",
        metavar="RUN",
        help="folder of a pretraining run, or hf:FOLDER for one of Hugging Face",
    )
    parser.add_argument(
        "corpus",
        metavar="CORPUS",
        help="UTF-8 text with one text a line, or a .tsv, .csv, .jsonl or .parquet file",
    )
    parser.add_argument("query", metavar="QUERY", nargs="*", help="text to look for")
    parser.add_argument("--queries", metavar="FILE", help="file with more queries, one a line")
    parser.add_argument(
        "--count", type=int, default=5, help="number of texts for each query (default: %(default)s)"
    )
    parser.add_argument(
        "--index", metavar="FILE", help="file to keep the vectors of the corpus in (default: none)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a query, with whole texts"
    )
    add_text_options(parser)


def run(options: argparse.Namespace) -> None:
    """Prints the most similar texts of a corpus for each query, as `options` say."""
    queries = [*options.query, *(read_lines(options.queries) if options.queries else ())]
    if not queries:
        raise InputError("there is no query; give one behind the corpus, or a file with --queries")
    if options.count < 1:
        raise InputError(f"--count {options.count} must be at least 1")
    if options.index:
        check_output_file(options.index, "--index")
        check_index_file(options.index)
    corpus = read_texts(options.corpus, options.column)
    embed = load_embedder(options.folder, options.pooling, batch=options.batch)
    with TextProgress() as progress:
        if options.index:
            index = open_index(embed, corpus.texts, options.index, progress)
        else:
            index = build_index(embed, corpus.texts, progress)
    for query, matches in zip(queries, index.search(queries, options.count), strict=True):
        print(_as_json(query, matches, corpus) if options.json else _shown(query, matches, corpus))


def _as_json(query: str, matches: list[Match], corpus: TextList) -> str:
    found = [
        {"position": position, "score": score, "text": corpus.texts[position]}
        for position, score in matches
    ]
    return json.dumps({"query": query, "matches": found}, ensure_ascii=False)


def _shown(query: str, matches: list[Match], corpus: TextList) -> str:
    """The query, and a line for each text with its score and its number, as a person counts from 1."""
    width = len(str(len(corpus.texts)))
    lines = [_short(query)]
    for position, score in matches:
        lines.append(f"  {score:.3f}  {position + 1:>{width}}  {_short(corpus.texts[position])}")
    return "\n".join(lines)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
