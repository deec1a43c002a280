"""Are the losses that hold little memory also fast? Against dense ones and the packages named below.

    python -m benchmarks.losses                     all of it: about 20 minutes on two cores
    python -m benchmarks.losses --tiny              a minute, to see that it runs
    python -m benchmarks.losses --only nt_xent --type bfloat16

Peers: optax, lightly, tokamax, jax-cce and torch; what is not installed is left out. Each row is loss and
gradient: median seconds of interleaved turns, and the temporaries of the compiled program
(`memory_analysis`; torch has none).
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl import losses

TEMPERATURE = 0.1
LARGEST_MATRIX = 2e9  # bytes: dense rows above are left out
LARGEST_PROGRAM = 8e9  # bytes of temporaries: programs above are compiled, but not run


class Contender(NamedTuple):
    name: str
    run: Callable[[], Any]
    temporaries: float | None  # megabytes


def compiled(
    name: str, loss: Callable[..., jax.Array], *arrays: Any, wrt: Any = (0, 1)
) -> Contender:
    program = jax.jit(jax.value_and_grad(loss, wrt)).lower(*arrays).compile()
    memory = program.memory_analysis()
    size = memory.temp_size_in_bytes / 1e6 if memory else None
    return Contender(name, lambda: jax.block_until_ready(program(*arrays)), size)


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def nt_xent_contenders(rows: int, dim: int, dtype: Any) -> Iterator[Contender]:
    random = np.random.default_rng(0)
    first, second = (jnp.asarray(random.normal(size=(rows, dim)), dtype) for _ in range(2))
    for block in (128, 512):
        loss = partial(losses.nt_xent, temperature=TEMPERATURE, block_size=min(block, 2 * rows))
        yield compiled(f"ours, blocks of {block}", loss, first, second)
    if 4 * (2 * rows) ** 2 > LARGEST_MATRIX:
        return
    yield compiled("ours, dense", partial(losses.nt_xent, temperature=TEMPERATURE), first, second)
    if has("optax"):
        import optax

        def theirs(first: jax.Array, second: jax.Array) -> jax.Array:
            labels = jnp.tile(jnp.arange(rows), 2)
            both = jnp.concatenate([first, second])
            return optax.losses.ntxent(both, labels, temperature=TEMPERATURE)

        yield compiled("optax", theirs, first, second)
    if has("lightly"):
        import torch
        from lightly.loss import NTXentLoss

        sides = [torch.randn(rows, dim, requires_grad=True) for _ in range(2)]
        criterion = NTXentLoss(temperature=TEMPERATURE)
        yield Contender("lightly", lambda: criterion(*sides).backward(), None)


def vocabulary_contenders(tokens: int, dim: int, vocab: int, dtype: Any) -> Iterator[Contender]:
    random = np.random.default_rng(0)
    hidden = jnp.asarray(random.normal(size=(tokens, dim)), dtype)
    kernel = jnp.asarray(random.normal(size=(vocab, dim)) * dim**-0.5, dtype)
    targets = jnp.asarray(random.integers(0, vocab, tokens))
    arrays = hidden, kernel, targets, jnp.ones(tokens)

    def logits_of(hidden: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.einsum("td,vd->tv", hidden, kernel, preferred_element_type=jnp.float32)

    def naive(hidden: Any, kernel: Any, targets: Any, weights: Any) -> jax.Array:
        return losses.masked_lm(logits_of(hidden, kernel), targets, weights)

    def checkpointed(hidden: Any, kernel: Any, targets: Any, weights: Any) -> jax.Array:
        parts = [a.reshape(8, -1, *a.shape[1:]) for a in (hidden, targets, weights)]

        @jax.checkpoint
        def add(total: Any, part: Any) -> Any:
            loss = losses.masked_lm(logits_of(part[0], kernel), *part[1:], normalize=False)
            return total + loss, None

        return jax.lax.scan(add, jnp.zeros(()), tuple(parts))[0] / weights.sum()

    yield compiled("ours", losses.linear_cross_entropy, *arrays)
    yield compiled("naive", naive, *arrays)
    yield compiled("checkpointed chunks", checkpointed, *arrays)
    if has("tokamax"):
        import tokamax

        def theirs(hidden: Any, kernel: Any, targets: Any, _: Any) -> jax.Array:
            return tokamax.linear_softmax_cross_entropy_loss(hidden, targets, kernel.T)

        yield compiled("tokamax", theirs, *arrays)
    if has("jax_cce"):
        import jax_cce

        def cut(hidden: Any, kernel: Any, targets: Any, _: Any) -> jax.Array:
            return jax_cce.linear_cross_entropy(hidden, kernel, targets)

        yield compiled("jax-cce", cut, *arrays)
    if has("torch"):
        yield torch_vocabulary(tokens, dim, vocab, dtype)


def torch_vocabulary(tokens: int, dim: int, vocab: int, dtype: Any) -> Contender:
    import torch

    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[jnp.dtype(dtype).name]
    hidden = torch.randn(tokens, dim, dtype=kind, requires_grad=True)
    kernel = (torch.randn(vocab, dim) * dim**-0.5).to(kind).requires_grad_()
    targets = torch.randint(0, vocab, (tokens,))

    def run() -> None:
        logits = (hidden @ kernel.T).float()
        torch.nn.functional.cross_entropy(logits, targets).backward()

    return Contender("torch", run, None)


def compare(title: str, contenders: Iterator[Contender], turns: int) -> None:
    """Turns are interleaved, so that whatever else the machine does falls on all alike."""
    print(f"\n{title}\n{'':24}{'seconds':>10}{'of first':>10}{'temporaries':>14}")
    sides = []
    for side in contenders:
        if side.temporaries is not None and side.temporaries * 1e6 > LARGEST_PROGRAM:
            print(f"{side.name:24}{'not run':>20}{side.temporaries:11.1f} MB")
        else:
            sides.append(side)
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for turn in range(turns + 1):
        for side in sides:
            start = time.perf_counter()
            side.run()
            if turn:  # the first warms up
                seconds[side.name].append(time.perf_counter() - start)
    first = float(np.median(seconds[sides[0].name]))
    for side in sides:
        median = float(np.median(seconds[side.name]))
        memory = "" if side.temporaries is None else f"{side.temporaries:11.1f} MB"
        print(f"{side.name:24}{median:10.4f}{median / first:10.2f}{memory:>14}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="sizes that take a minute")
    parser.add_argument("--only", choices=["nt_xent", "linear_cross_entropy"])
    parser.add_argument("--type", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    del sys.argv[1:]  # tokamax would read them too
    dtype = jnp.dtype(options.type)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {options.type}")
    if options.only != "linear_cross_entropy":
        for rows in (64, 256) if options.tiny else (512, 2048, 8192, 32768):
            contenders = nt_xent_contenders(rows, 128, dtype)
            compare(f"nt_xent, {rows} pairs x 128", contenders, options.turns)
    if options.only != "nt_xent":
        sizes = (256, 32, 1000) if options.tiny else (4096, 768, 50257)
        title = "linear_cross_entropy, [{} x {}] -> {}".format(*sizes)
        compare(title, vocabulary_contenders(*sizes, dtype), options.turns)


if __name__ == "__main__":
    main()
