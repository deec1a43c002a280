"""How fast a token is written, at which position of a text, beside transformers with its cache.

`python -m benchmarks.generation` times greedy tokens of one row at positions 100 to 2,000 and prints
milliseconds for each; `--peer` takes turns with GPT2LMHeadModel of the same shape (torch and transformers on
the same machine). Parameters are random: no time depends on them.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.turns import Side

POSITIONS = (100, 250, 500, 1000, 1500, 2000)
VOCABULARY, LENGTH = 50_257, 2_048


def make_ours(depth: int, width: int, heads: int) -> Any:
    """A function from (prompt length, tokens) to the seconds of every token."""
    import jax

    from jaxssl.models.decoding.language_models import CausalWriter
    from jaxssl.models.pretraining.causal_language_model import CausalLanguageModel
    from jaxssl.models.recipes import gpt2
    from jaxssl.pretrained.generation.sampling import Sampling
    from jaxssl.pretrained.generation.tokens import TokenWriter

    config = gpt2(depth, width, heads, max_length=LENGTH)
    model = jax.jit(lambda key: CausalLanguageModel(key, config, VOCABULARY))(jax.random.key(0))
    writer = TokenWriter(CausalWriter.of(model))

    def generate(message: tuple[int, int]) -> list[float]:
        position, count = message
        prompt = np.arange(position, dtype=np.int32) % VOCABULARY
        # One cache for all positions, so that one program computes them.
        drawn = writer.drawn(
            [prompt], LENGTH - position, Sampling(temperature=0.0), seed=0, rows=[0]
        )
        return seconds_of(drawn, count)

    return generate


def make_theirs(depth: int, width: int, heads: int) -> Any:
    """The same with transformers and its cache."""
    import torch
    from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=width, n_layer=depth, n_head=heads
    )
    model = GPT2LMHeadModel(config).eval()

    def tokens(position: int) -> Any:
        with torch.inference_mode():
            cache, ids = DynamicCache(config=config), torch.arange(position)[None] % VOCABULARY
            while True:
                out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                ids = out.logits[:, -1:].argmax(-1)
                yield int(ids)

    return lambda message: seconds_of(tokens(message[0]), message[1])


def seconds_of(tokens: Any, count: int) -> list[float]:
    """The seconds of each of `count` tokens, after one that reads the prompt and compiles."""
    next(tokens)
    next(tokens)
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        next(tokens)
        found.append(time.perf_counter() - begin)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=20, help="tokens that are timed in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="take turns with transformers")
    options = parser.parse_args()
    shape = (options.depth, options.width, options.heads)
    sides = [Side("jaxssl", make_ours, *shape)]
    if options.peer:
        sides.append(Side("transformers", make_theirs, *shape))
    print(f"{'position':>8}" + "".join(f"{side.name + ', ms a token':>28}" for side in sides))
    try:
        for position in POSITIONS:
            found: list[list[float]] = [[] for _ in sides]
            for _ in range(options.turns):
                for side, own in zip(sides, found, strict=True):
                    own += side.turn((position, options.tokens)).answer
            # The median of all tokens, and the least, which is what the machine can do undisturbed.
            cells = [
                f"{1e3 * statistics.median(own):10.1f} (least {1e3 * min(own):6.1f})"
                for own in found
            ]
            print(f"{position:>8}" + "".join(f"{cell:>28}" for cell in cells), flush=True)
            if len(found) == 2:
                ratio = statistics.median(found[1]) / statistics.median(found[0])
                print(f"{'':8}  jaxssl is {ratio:.2f} times as fast", flush=True)
    finally:
        for side in sides:
            side.__exit__()


if __name__ == "__main__":
    main()
