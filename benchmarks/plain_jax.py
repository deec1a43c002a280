"""The same language model as one writes it by hand in JAX and optax, with no library of ours.

What a good hand-written step does: one `jit`, layers in a `scan`, BERT's hidden places gathered before
the head, dropout from JAX's cheap generator (rbg), the optimizer of optax. GPT-2's logits are held whole.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from language_models import BEGIN, MASK, RATE, SPECIALS, LanguageModel

Tree = dict[str, Any]


def make_plain(wanted: LanguageModel) -> Callable[[np.ndarray], float]:
    jax.config.update("jax_default_prng_impl", "rbg")
    params = new_params(wanted)
    schedule = optax.warmup_cosine_decay_schedule(0.0, wanted.peak, wanted.warmup, wanted.steps)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            schedule,
            weight_decay=wanted.decay,
            mask=jax.tree_util.tree_map_with_path(lambda path, _: "kernel" in path[-1].key, params),
        ),
    )

    @jax.jit(donate_argnums=(0, 1))
    def step(params: Tree, moments: Any, tokens: Any, number: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(wanted.seed), number)
        objective = masked_loss if wanted.kind == "bert" else causal_loss
        loss, gradient = jax.value_and_grad(objective)(params, tokens, key, wanted)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments, loss

    moments, number = optimizer.init(params), 0

    def run(rows: np.ndarray) -> float:
        nonlocal params, moments, number
        params, moments, loss = step(params, moments, rows, number)
        number += 1
        return float(loss)

    return run


def new_params(wanted: LanguageModel) -> Tree:
    width, keys = wanted.width, iter(jax.random.split(jax.random.key(wanted.seed), 9))

    def normal(*shape: int) -> Any:
        return 0.02 * jax.random.normal(next(keys), shape)

    def linear(inputs: int, outputs: int, *layers: int) -> Tree:
        return {"kernel": normal(*layers, inputs, outputs), "bias": jnp.zeros((*layers, outputs))}

    def norm(*layers: int) -> Tree:
        return {"scale": jnp.ones((*layers, width)), "bias": jnp.zeros((*layers, width))}

    depth = wanted.depth
    params = {
        "tokens": {"kernel": normal(wanted.vocab_size, width)},
        "positions": {"kernel": normal(wanted.length, width)},
        "norm": norm(),
        "layers": {
            "qkv": linear(width, 3 * width, depth),
            "out": linear(width, width, depth),
            "up": linear(width, 4 * width, depth),
            "down": linear(4 * width, width, depth),
            "first": norm(depth),
            "second": norm(depth),
        },
    }
    if wanted.kind == "bert":
        params |= {"types": {"kernel": normal(2, width)}, "dense": linear(width, width)}
        params |= {"dense_norm": norm(), "vocabulary": {"bias": jnp.zeros(wanted.vocab_size)}}
    return params


def apply(params: Tree, x: Any) -> Any:
    return x @ params["kernel"] + params["bias"]


def normed(params: Tree, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)
    return centred / deviation * params["scale"] + params["bias"]


def dropped(x: Any, key: Any, rate: float) -> Any:
    return (
        x
        if not rate
        else jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)
    )


def attended(layer: Tree, x: Any, key: Any, wanted: LanguageModel) -> Any:
    batch, length, width = x.shape
    queries, keys, values = (
        part.reshape(batch, length, wanted.heads, -1).transpose(0, 2, 1, 3)
        for part in jnp.split(apply(layer["qkv"], x), 3, axis=-1)
    )
    scores = queries @ keys.transpose(0, 1, 3, 2) / (width // wanted.heads) ** 0.5
    if wanted.kind == "gpt2":
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e9)
    weights = dropped(jax.nn.softmax(scores), key, wanted.dropout)
    mixed = (weights @ values).transpose(0, 2, 1, 3).reshape(x.shape)
    return apply(layer["out"], mixed)


def network(params: Tree, tokens: Any, key: Any, wanted: LanguageModel) -> Any:
    first, second = jax.random.split(key)
    is_bert, rate = wanted.kind == "bert", wanted.dropout
    gelu = jax.nn.gelu if not is_bert else lambda x: jax.nn.gelu(x, approximate=False)
    x = params["tokens"]["kernel"][tokens] + params["positions"]["kernel"]
    x = normed(params["norm"], x + params["types"]["kernel"][0]) if is_bert else x

    def layer_of(x: Any, scanned: Any) -> Any:
        layer, key = scanned
        keys = jax.random.split(key, 3)

        def attend(x: Any) -> Any:
            return dropped(attended(layer, x, keys[0], wanted), keys[1], rate)

        def feed(x: Any) -> Any:
            return dropped(apply(layer["down"], gelu(apply(layer["up"], x))), keys[2], rate)

        if is_bert:
            x = normed(layer["first"], x + attend(x))
            return normed(layer["second"], x + feed(x)), None
        x = x + attend(normed(layer["first"], x))
        return x + feed(normed(layer["second"], x)), None

    layers = params["layers"], jax.random.split(second, wanted.depth)
    x, _ = jax.lax.scan(layer_of, dropped(x, first, rate), layers)
    return x if is_bert else normed(params["norm"], x)


def causal_loss(params: Tree, tokens: Any, key: Any, wanted: LanguageModel) -> Any:
    states = network(params, tokens, key, wanted)[:, :-1]
    logits = states @ params["tokens"]["kernel"].T
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()


def masked_loss(params: Tree, tokens: Any, key: Any, wanted: LanguageModel) -> Any:
    where, how, what, drop = jax.random.split(key, 4)
    score = jnp.where(tokens == BEGIN, -1.0, jax.random.uniform(where, tokens.shape))
    _, places = jax.lax.top_k(score, round(RATE * wanted.length))
    targets = jnp.take_along_axis(tokens, places, axis=1)
    draw = jax.random.uniform(how, places.shape)
    other = jax.random.randint(what, places.shape, SPECIALS, wanted.vocab_size)
    shown = jnp.where(draw < 0.8, MASK, jnp.where(draw < 0.9, other, targets))
    inputs = tokens.at[jnp.arange(len(tokens))[:, None], places].set(shown)
    states = network(params, inputs, drop, wanted)
    states = jnp.take_along_axis(states, places[:, :, None], axis=1)
    states = normed(params["dense_norm"], jax.nn.gelu(apply(params["dense"], states), False))
    logits = states @ params["tokens"]["kernel"].T + params["vocabulary"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
