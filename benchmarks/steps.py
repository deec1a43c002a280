"""Step time against Hugging Face torch, each in its own process, taking turns step by step.

    python benchmarks/steps.py
    python benchmarks/steps.py --models bert_tiny gpt2_tiny --repeats 20

A step is forward, backward, clipping to 1.0 and AdamW in float32 at length 128, dropout 0.1 for BERT
and 0 for GPT-2. Ours is the objective and the compiled step that `train.py` runs, masks made inside.
Theirs is `BertForMaskedLM` or `GPT2LMHeadModel` with SDPA and fused AdamW; its masks are made inside
the step too, which is less than 1 % of it. The ratio is the median over pairs of neighbouring steps.
"""

import argparse
from statistics import median

from language_models import LanguageModel, make_hugging_face, make_ours
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
# Step time of hand-written JAX over that of Hugging Face, measured on two cores before this library
# was written: what it must not fall behind.
PLAIN_JAX = {
    "bert_tiny": 0.365 / 1.51,
    "bert_small": 1.74 / 2.82,
    "bert_base": 4.06 / 4.57,
    "gpt2_tiny": 1.73 / 1.97,
    "gpt2_small": 1.0,
}
HEADER = (
    "| model (batch) | jaxssl s | HF torch s | ratio | spread of the ratio | plain JAX / HF "
    "| jaxssl tokens/s | HF tokens/s | peak MB, jaxssl | HF |\n" + "|---" * 10 + "|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=15, help="pairs of steps that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="pairs before, which compile")
    options = parser.parse_args()
    print(HEADER, flush=True)
    for name in options.models:
        pairs = measure(MODELS[name], options.repeats, options.warmup)
        print(table_row(name, MODELS[name], pairs), flush=True)


def measure(model: LanguageModel, repeats: int, warmup: int) -> list[tuple[Turn, Turn]]:
    """(ours, theirs) of every pair of steps behind the warmup."""
    with (
        Side("jaxssl", make_ours, model) as ours,
        Side("Hugging Face", make_hugging_face, model) as theirs,
    ):
        pairs = []
        for step in range(warmup + repeats):
            rows = model.random_rows(step)
            pairs.append((ours.turn(rows), theirs.turn(rows)))
    return pairs[warmup:]


def table_row(name: str, model: LanguageModel, pairs: list[tuple[Turn, Turn]]) -> str:
    """Medians over all pairs; the spread is that of the middle half."""
    ours, theirs = (median(pair[side].seconds for pair in pairs) for side in (0, 1))
    ratios = sorted(first.seconds / second.seconds for first, second in pairs)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    tokens = model.batch * model.length
    memory = [f"{turn.peak_megabytes:.0f}" for turn in pairs[-1]]
    cells = [
        f"{name} ({model.batch})",
        f"{ours:.3f}",
        f"{theirs:.3f}",
        f"{median(ratios):.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{PLAIN_JAX[name]:.2f}",
        f"{tokens / ours:,.0f}",
        f"{tokens / theirs:,.0f}",
        *memory,
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
