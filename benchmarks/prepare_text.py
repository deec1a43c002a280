"""Raw text to rows in tokens/s: `jaxssl prepare` against `datasets.map`, on as many processes, in turns.

    python benchmarks/prepare_text.py --text novels.txt.xz --vocabulary bert-base-uncased-vocab.txt

Ours is timed whole: reading twice (survey, then encoding), packing whole documents, shards, hashes,
manifest; with a WordPiece vocabulary and with a sentencepiece model trained before. Theirs is what
`run_mlm.py` does: `map` with the fast tokenizer, then `map` that joins and cuts to rows; reading the
file by `load_dataset` comes before the clock starts. A tokenizer runs one thread a process, for all.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from slices import read_slice, write_slice
from turns import Side, Turn

Program = Callable[[int], int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", default="stdlib", help="what `jaxssl prepare` reads")
    parser.add_argument("--vocabulary", required=True, help="a BERT vocab.txt")
    parser.add_argument("--characters", type=int, default=20_000_000, help="of the text")
    parser.add_argument("--vocab-size", type=int, default=8192, help="of the sentencepiece model")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        texts = read_slice(options.text, options.characters)
        text = str(write_slice(texts, Path(folder)))
        pieces = train(texts, options.vocab_size, f"{folder}/sentencepiece")
        settings = (options.length, options.processes, text, folder)
        with (
            Side("jaxssl, WordPiece", make_ours, options.vocabulary, *settings) as words,
            Side("jaxssl, sentencepiece", make_ours, pieces, *settings) as sentences,
            Side("datasets.map", make_theirs, options.vocabulary, *settings) as theirs,
        ):
            sides = (words, sentences, theirs)
            rounds = [[side.turn(number) for side in sides] for number in range(options.repeats)]
        characters = len(Path(text).read_text(encoding="utf8"))
    print(f"{characters:,} characters, {options.processes} processes, rows of {options.length}")
    print("| | s | tokens | M tokens/s | M characters/s | ratio of time to datasets.map |")
    print("|---" * 6 + "|")
    for place, side in enumerate(sides):
        print(table_row(side.name, rounds, place, characters))


def table_row(name: str, rounds: list[list[Turn]], place: int, characters: int) -> str:
    seconds = median(turns[place].seconds for turns in rounds)
    ratio = median(turns[place].seconds / turns[-1].seconds for turns in rounds)
    tokens = rounds[0][place].answer
    speeds = f"{tokens / seconds / 1e6:.2f} | {characters / seconds / 1e6:.2f}"
    return f"| {name} | {seconds:.1f} | {tokens:,} | {speeds} | {ratio:.2f} |"


def train(texts: list[str], vocab_size: int, folder: str) -> str:
    from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece

    train_sentencepiece(texts, SentencePiece(vocab_size, max_characters=2_000_000)).save(folder)
    return folder


def make_ours(tokenizer: str, length: int, processes: int, text: str, folder: str) -> Program:
    from jaxssl.data.preparing.texts import Prepare, prepare
    from jaxssl.data.progress import TextProgress
    from jaxssl.data.sources.texts import TextFiles

    source = TextFiles(text, "blank_line")
    config = Prepare(source, length, tokenizer, workers=processes)

    def run(number: int) -> int:
        rows = Path(folder) / f"rows_{Path(tokenizer).name}_{number}"
        manifest = prepare(config, rows, TextProgress(silent=True))
        shutil.rmtree(rows)
        return sum(manifest.total(split, "tokens") for split in manifest.splits)

    return run


def make_theirs(vocabulary: str, length: int, processes: int, text: str, folder: str) -> Program:
    import datasets
    from transformers import BertTokenizerFast

    datasets.disable_progress_bars()
    tokenizer = BertTokenizerFast(vocabulary)
    lines = datasets.load_dataset("text", data_files=text, split="train", cache_dir=folder)

    def tokenise(examples: dict[str, list[str]]) -> Any:
        return tokenizer(examples["text"], return_special_tokens_mask=True, verbose=False)

    def group(examples: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {name: list(chain(*parts)) for name, parts in examples.items()}
        total = len(joined["input_ids"]) // length * length
        return {
            name: [values[start : start + length] for start in range(0, total, length)]
            for name, values in joined.items()
        }

    def run(number: int) -> int:
        shared = {"batched": True, "num_proc": processes, "load_from_cache_file": False}
        tokens = lines.map(tokenise, remove_columns=["text"], **shared)
        return len(tokens.map(group, **shared)) * length

    return run


if __name__ == "__main__":
    main()
