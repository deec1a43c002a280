"""Step time against Hugging Face torch and JAX by hand, each in its own process, taking turns.

    python benchmarks/steps.py
    python benchmarks/steps.py --models bert_tiny gpt2_tiny --repeats 20

A step is forward, backward, clipping to 1.0 and AdamW in float32 at length 128, dropout 0.1 for BERT
and 0 for GPT-2. Ours is the objective and the compiled step that `train.py` runs, masks made inside.
Theirs is `BertForMaskedLM` or `GPT2LMHeadModel` with SDPA and fused AdamW; its masks are made inside
the step too, which is less than 1 % of it. By hand: `plain_jax.py`. A ratio is the median over
neighbouring turns.
"""

import argparse
from statistics import median

from language_models import LanguageModel, make_hugging_face, make_ours
from plain_jax import make_plain
from turns import Side, Turn

BERT = {"kind": "bert", "vocab_size": 30_522, "dropout": 0.1}
GPT2 = {"kind": "gpt2", "vocab_size": 50_257, "dropout": 0.0}
MODELS = {
    "bert_tiny": LanguageModel(depth=2, width=128, batch=32, **BERT),
    "bert_small": LanguageModel(depth=4, width=512, batch=16, **BERT),
    "bert_base": LanguageModel(depth=12, width=768, batch=8, **BERT),
    "gpt2_tiny": LanguageModel(depth=4, width=256, batch=16, **GPT2),
    "gpt2_small": LanguageModel(depth=12, width=768, batch=8, **GPT2),
}
HEADER = (
    "| model (batch) | jaxssl s | HF torch s | plain JAX s | jaxssl / HF | plain JAX / HF "
    "| jaxssl / plain JAX | jaxssl tokens/s | peak MB: jaxssl | HF | plain JAX |\n"
    + "|---" * 11
    + "|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=15, help="turns that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="turns before, which compile")
    options = parser.parse_args()
    print(HEADER, flush=True)
    for name in options.models:
        turns = measure(MODELS[name], options.repeats, options.warmup)
        print(table_row(name, MODELS[name], turns), flush=True)


def measure(model: LanguageModel, repeats: int, warmup: int) -> list[tuple[Turn, Turn, Turn]]:
    """(ours, theirs, by hand) of every step behind the warmup."""
    with (
        Side("jaxssl", make_ours, model) as ours,
        Side("Hugging Face", make_hugging_face, model) as theirs,
        Side("plain JAX", make_plain, model) as plain,
    ):
        turns = []
        for step in range(warmup + repeats):
            rows = model.random_rows(step)
            turns.append((ours.turn(rows), theirs.turn(rows), plain.turn(rows)))
    return turns[warmup:]


def table_row(name: str, model: LanguageModel, turns: list[tuple[Turn, Turn, Turn]]) -> str:
    """Medians over all turns; the spread behind a ratio is that of the middle half."""
    seconds = [median(turn[side].seconds for turn in turns) for side in range(3)]
    cells = [
        f"{name} ({model.batch})",
        *(f"{of_side:.3f}" for of_side in seconds),
        *(ratio(turns, *sides) for sides in ((0, 1), (2, 1), (0, 2))),
        f"{model.batch * model.length / seconds[0]:,.0f}",
        *(f"{turn.peak_megabytes:.0f}" for turn in turns[-1]),
    ]
    return "| " + " | ".join(cells) + " |"


def ratio(turns: list[tuple[Turn, Turn, Turn]], side: int, other: int) -> str:
    ratios = sorted(turn[side].seconds / turn[other].seconds for turn in turns)
    quarter = len(ratios) // 4
    return f"{median(ratios):.2f} ({ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f})"


if __name__ == "__main__":
    main()
