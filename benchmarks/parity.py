"""Parity in learning: jaxssl and Hugging Face torch on the same rows, BERT and GPT-2.

    python benchmarks/parity.py --text novels.txt.xz

The same size, initialisation scale, schedule, AdamW, decay mask, masking shares and dropout, and the
same rows in the same order; parameters and masks are each side's own draw. A row is one piece, for
Hugging Face does not keep packed documents apart. Smoothed losses (means of the last 50 steps) must
agree within 2 % at every step from the 50th on, and so must those of the fresh networks.

Writes INTO/parity.json and INTO/parity.png; exit code 1 if they do not agree.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from language_models import BEGIN, LanguageModel, make_hugging_face, make_ours
from slices import read_slice
from turns import Side

from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece

WINDOW = 50  # steps that a smoothed loss is the mean of
TITLES = {"bert": "BERT, masked LM", "gpt2": "GPT-2, causal LM"}


def main() -> None:
    options = read_options()
    rows = tokenise(options)
    results = {}
    for kind in options.models:
        model = LanguageModel(
            kind=kind,
            depth=options.depth,
            width=options.width,
            batch=options.batch,
            length=options.length,
            vocab_size=options.vocab_size,
            dropout=options.dropout,
            steps=options.steps,
            warmup=options.steps // 10,
            peak=options.peak,
            seed=options.seed,
        )
        results[kind] = compare(train_both(model, rows), model)
        print(f"{kind}: {describe(results[kind])}", flush=True)
    into = Path(options.into)
    into.mkdir(parents=True, exist_ok=True)
    (into / "parity.json").write_text(json.dumps(results) + "\n", encoding="utf8")
    draw(results, into / "parity.png")
    keys = ("largest_difference", "first_difference")
    if any(result[key] > options.tolerance for result in results.values() for key in keys):
        sys.exit(f"the losses differ by more than {options.tolerance:.0%}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", default="stdlib", help="what `jaxssl prepare` reads")
    parser.add_argument("--characters", type=int, default=6_000_000, help="of the text")
    parser.add_argument("--models", nargs="+", choices=["bert", "gpt2"], default=["bert", "gpt2"])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--peak", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--into", default="docs", metavar="FOLDER")
    options = parser.parse_args()
    if options.steps < WINDOW:
        parser.error(f"--steps {options.steps}: a smoothed loss is the mean of {WINDOW} steps")
    return options


def tokenise(options: argparse.Namespace) -> np.ndarray:
    """int32 [rows, length]: the text in windows, each behind a begin token."""
    texts = read_slice(options.text, options.characters)
    tokenizer = train_sentencepiece(texts, SentencePiece(vocab_size=options.vocab_size))
    end = np.array([tokenizer.end], np.int32)
    tokens = np.concatenate([part for ids in tokenizer.encode(texts) for part in (ids, end)])
    count = len(tokens) // (options.length - 1)
    windows = tokens[: count * (options.length - 1)].reshape(count, -1)
    print(f"{len(texts)} documents, {len(tokens):,} tokens, {count:,} rows", flush=True)
    return np.pad(windows, ((0, 0), (1, 0)), constant_values=BEGIN)


def batches(rows: np.ndarray, model: LanguageModel) -> Iterator[np.ndarray]:
    """All rows in a random order, then in another."""
    random, needed = np.random.default_rng(model.seed), model.steps * model.batch
    epochs = -(-needed // len(rows))
    order = np.concatenate([random.permutation(len(rows)) for _ in range(epochs)])[:needed]
    for ids in order.reshape(model.steps, model.batch):
        yield rows[ids]


def train_both(model: LanguageModel, rows: np.ndarray) -> dict[str, list[float]]:
    """The loss of every step, of both sides; and a line now and then."""
    losses: dict[str, list[float]] = {"jaxssl": [], "hugging_face": []}
    with (
        Side("jaxssl", make_ours, model) as ours,
        Side("Hugging Face", make_hugging_face, model) as theirs,
    ):
        for step, batch in enumerate(batches(rows, model), start=1):
            for side, curve in zip((ours, theirs), losses.values(), strict=True):
                curve.append(side.turn(batch).answer)
            if step % WINDOW == 0:
                last = ", ".join(
                    f"{name} {np.mean(curve[-WINDOW:]):.4f}" for name, curve in losses.items()
                )
                print(f"{model.kind} step {step}: {last}", flush=True)
    return losses


def smooth(losses: list[float]) -> np.ndarray:
    """Means of WINDOW steps, from the first step that has so many before it."""
    return np.convolve(losses, np.full(WINDOW, 1 / WINDOW), mode="valid")


def compare(losses: dict[str, list[float]], model: LanguageModel) -> dict:
    """Differences relative to the loss of Hugging Face."""
    ours, theirs = smooth(losses["jaxssl"]), smooth(losses["hugging_face"])
    differences = np.abs(ours / theirs - 1)
    first = losses["jaxssl"][0] / losses["hugging_face"][0] - 1
    return {
        "model": dataclasses.asdict(model),
        "largest_difference": float(differences.max()),
        "at_step": int(differences.argmax()) + WINDOW,
        "mean_difference": float(differences.mean()),
        "last_difference": float(differences[-1]),
        "last_losses": [float(ours[-1]), float(theirs[-1])],
        "first_difference": abs(first),
        "losses": {name: np.round(curve, 4).tolist() for name, curve in losses.items()},
    }


def describe(result: dict) -> str:
    ours, theirs = result["last_losses"]
    return (
        f"loss of the last {WINDOW} steps {ours:.4f}, Hugging Face {theirs:.4f}; smoothed losses "
        f"differ by {result['largest_difference']:.2%} at most (step {result['at_step']}), "
        f"{result['mean_difference']:.2%} on average, fresh networks by "
        f"{result['first_difference']:.2%}"
    )


def draw(results: dict, path: Path) -> None:
    """Both curves of every model: each step pale, smoothed strong."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(results), figsize=(5.5 * len(results), 4), layout="constrained", squeeze=False
    )
    looks = {"jaxssl": ("jaxssl", "C0", "-"), "hugging_face": ("Hugging Face torch", "C1", "--")}
    for axes, (kind, result) in zip(panels[0], results.items(), strict=True):
        for name, (label, colour, style) in looks.items():
            curve = result["losses"][name]
            axes.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.25, linewidth=0.8)
            steps = range(WINDOW, len(curve) + 1)
            axes.plot(steps, smooth(curve), style, color=colour, label=label)
        differ = f"smoothed losses differ by {result['largest_difference']:.2%} at most"
        axes.set_title(f"{TITLES[kind]}: {differ}", fontsize=10)
        axes.set(xlabel="step", ylabel="loss (nats per token)")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
