"""Input path in tokens/s: loader and masking, one thread a side, taking turns.

    python benchmarks/input_path.py --text novels.txt.xz --vocabulary bert-base-uncased-vocab.txt

Ours reads prepared rows and makes masks by the compiled `corrupt` of the objective, as the training
step does on the device; here the device is the same one core. Theirs is a `DataLoader` over a
`datasets` set of the same text in rows of the same length, with `DataCollatorForLanguageModeling`,
plain and `whole_word_mask=True`. `vocab.txt` is that of `bert-base-uncased`.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from slices import read_slice, write_slice
from turns import Side

Program = Callable[[int], int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", default="stdlib", help="what `jaxssl prepare` reads")
    parser.add_argument("--vocabulary", required=True, help="a BERT vocab.txt")
    parser.add_argument("--characters", type=int, default=2_000_000, help="of the text")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", type=int, default=40, help="batches of a turn")
    parser.add_argument("--repeats", type=int, default=9, help="turns of each side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = write_slice(read_slice(options.text, options.characters), Path(folder))
        print(
            "| masks | jaxssl M tokens/s | HF M tokens/s | ratio |\n|---|---|---|---|", flush=True
        )
        for whole_words in (False, True):
            print(compare(options, whole_words, folder, text), flush=True)


def compare(options: argparse.Namespace, whole_words: bool, folder: str, text: Path) -> str:
    """A line of the table: the median of the turns, and that of the ratios of pairs."""
    settings = (options, whole_words, folder, str(text))
    tokens = options.batches * options.batch * options.length
    with Side("jaxssl", make_ours, *settings) as ours, Side("HF", make_theirs, *settings) as theirs:
        pairs = [
            (
                tokens / ours.turn(options.batches).seconds,
                tokens / theirs.turn(options.batches).seconds,
            )
            for _ in range(options.repeats + 1)
        ][1:]  # the first turn compiles
    speeds = [median(pair[side] for pair in pairs) / 1e6 for side in (0, 1)]
    ratio = median(first / second for first, second in pairs)
    name = "whole words" if whole_words else "tokens"
    return f"| {name} | {speeds[0]:.2f} | {speeds[1]:.2f} | {ratio:.1f} |"


def use_one_core() -> None:
    """One core for all threads of this process; before jax and torch start theirs."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def make_ours(options: argparse.Namespace, whole_words: bool, folder: str, text: str) -> Program:
    use_one_core()
    import jax

    from jaxssl.data.preparing.texts import Prepare
    from jaxssl.data.rows import Rows, open_rows
    from jaxssl.data.sources.texts import TextFiles
    from jaxssl.models.recipes import bert
    from jaxssl.objectives import MaskedLM
    from jaxssl.objectives.batches.batch import Text, Vocabulary

    source = TextFiles(text, "blank_line")
    prepare = Prepare(source, options.length, options.vocabulary, workers=1)
    reader = open_rows(Rows(f"{folder}/rows", options.batch, prepare=prepare), seed=0)
    vocabulary = Vocabulary.of(reader.spec)
    objective = MaskedLM(bert(2, 128, 2), masking="words" if whole_words else "tokens")
    corrupt = jax.jit(lambda tokens, key: objective.corrupt(Text(tokens, vocabulary), key))
    key, done = jax.random.key(0), 0

    def run(batches: int) -> int:
        nonlocal done
        for step in range(done, done + batches):
            tokens = reader.batch(step)["tokens"]
            jax.block_until_ready(corrupt(tokens, jax.random.fold_in(key, step)))
        done += batches
        return batches

    return run


def make_theirs(options: argparse.Namespace, whole_words: bool, folder: str, text: str) -> Program:
    use_one_core()
    import torch
    from torch.utils.data import DataLoader
    from transformers import BertTokenizerFast, DataCollatorForLanguageModeling

    torch.set_num_threads(1)
    tokenizer = BertTokenizerFast(options.vocabulary)
    rows = hugging_face_rows(tokenizer, Path(text), options.length, whole_words, folder)
    collator = DataCollatorForLanguageModeling(tokenizer, whole_word_mask=whole_words)
    loader = DataLoader(rows, options.batch, shuffle=True, drop_last=True, collate_fn=collator)

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    batches_read = endless()

    def run(batches: int) -> int:
        for _ in range(batches):
            next(batches_read)
        return batches

    return run


def hugging_face_rows(
    tokenizer: Any, text: Path, length: int, whole_words: bool, folder: str
) -> Any:
    """Rows as `run_mlm.py` makes them, on disk; whole words need offsets beside the ids."""
    from datasets import Dataset, load_from_disk

    lines = [line for line in text.read_text(encoding="utf8").split("\n") if line.strip()]
    encoded = tokenizer(
        lines, return_special_tokens_mask=True, return_offsets_mapping=whole_words, verbose=False
    )
    columns = {}
    for name in encoded:
        joined = [value for part in encoded[name] for value in part]
        starts = range(0, len(joined) - length + 1, length)
        columns[name] = [joined[start : start + length] for start in starts]
    path = f"{folder}/hugging_face_{whole_words}"
    Dataset.from_dict(columns).save_to_disk(path)
    return load_from_disk(path)


if __name__ == "__main__":
    main()
