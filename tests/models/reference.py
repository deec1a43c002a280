"""A transformer as the papers write it: float64, one document, one head, one place at a time."""

import math
from typing import Any

import numpy as np

from jaxssl.models.transformer_config import TransformerConfig


def states(
    config: TransformerConfig, weights: dict[str, Any], tokens, segments, types=None
) -> np.ndarray:
    """[batch, length, width]; every document is computed alone and put back where it stood."""
    last = hidden_states(config, weights, tokens, segments, types)[-1]
    last = norm(config, _float64(weights["final_norm"]), last) if config.final_norm else last
    return config.output_scale * last


def hidden_states(
    config: TransformerConfig, weights: dict[str, Any], tokens, segments, types=None
) -> np.ndarray:
    """[layers + 1, batch, length, width]: after the embedding and after every layer, without a final norm."""
    weights = _float64(weights)
    out = np.zeros((config.depth + 1, *tokens.shape, config.width))
    for row in range(tokens.shape[0]):
        for segment in set(segments[row].tolist()) - {0}:
            here = np.flatnonzero(segments[row] == segment)
            kinds = np.zeros(len(here), int) if types is None else types[row, here]
            out[:, row, here] = document(config, weights, tokens[row, here], kinds)
    return out


def document(config: TransformerConfig, weights: dict[str, Any], tokens, types) -> list[np.ndarray]:
    x = config.embedding_scale * weights["tokens"]["embedding"][tokens]
    if config.positions == "learned":
        offset = config.position_offset
        x = x + weights["positions"]["embedding"][offset : offset + len(tokens)]
    if config.segment_types:
        x = x + weights["types"]["embedding"][types]
    if config.embedding_norm:
        x = norm(config, weights["embedding_norm"], x)
    found = [x]
    for i in range(config.depth):
        w = _at(weights["layers"], i)
        if config.positions == "relative":
            w["attention"]["relative"] = weights["relative_biases"]["embedding"]
        found.append(layer(config, w, i, found[-1]))
    return found


def layer(config: TransformerConfig, w: dict[str, Any], i: int, x: np.ndarray) -> np.ndarray:
    if config.norm_first:
        skip = i == 0 and not config.norm_before_first
        x = x + attend(
            config, w["attention"], i, x if skip else norm(config, w["attention_norm"], x)
        )
        return x + feed_forward(config, w["mlp"], norm(config, w["mlp_norm"], x))
    x = norm(config, w["attention_norm"], x + attend(config, w["attention"], i, x))
    return norm(config, w["mlp_norm"], x + feed_forward(config, w["mlp"], x))


def attend(config: TransformerConfig, w: dict[str, Any], i: int, x: np.ndarray) -> np.ndarray:
    size, kv_heads = head_width(config), config.kv_heads or config.heads
    local = config.window is not None and (config.global_every == 0 or i % config.global_every != 0)
    base = config.rotary_base_local if local and config.rotary_base_local else config.rotary_base
    query, key, value = (linear(w[name], x) for name in ("query", "key", "value"))
    if config.qk_norm:
        query = norm_heads(config, w["query_norm"], query)
        key = norm_heads(config, w["key_norm"], key)
    mixed = np.zeros((len(x), config.heads * size))
    for head in range(config.heads):
        mine = slice(head * size, (head + 1) * size)
        shared = head // (config.heads // kv_heads)
        theirs = slice(shared * size, (shared + 1) * size)
        for here in range(len(x)):
            seen = [
                there
                for there in range(len(x))
                if not (config.causal and there > here)
                and not (local and abs(there - here) > config.window)
            ]
            q = query[here, mine]
            ks = [key[there, theirs] for there in seen]
            if config.positions == "rotary":
                scaling = config.rotary_scaling
                q = turn(q, here, base, scaling)
                ks = [turn(k, there, base, scaling) for k, there in zip(ks, seen, strict=True)]
            scores = np.array([q @ k * scale(config) for k in ks])
            if config.positions == "relative":
                scores += [bias(config, w["relative"][:, head], there - here) for there in seen]
            shares = np.exp(scores - scores.max())
            mixed[here, mine] = shares / shares.sum() @ value[seen][:, theirs]
    return linear(w["output"], mixed)


def scale(config: TransformerConfig) -> float:
    own = config.attention_scale
    return 1 / math.sqrt(head_width(config)) if own is None else own


def bias(config: TransformerConfig, of_head: np.ndarray, ahead: int) -> float:
    """The bias of one distance: exact near, then ranges that grow (Raffel et al. 2020, section 2.1)."""
    ranges = len(of_head) if config.causal else len(of_head) // 2
    first = 0 if config.causal or ahead <= 0 else ranges
    exact, far = ranges // 2, abs(ahead)
    if far >= exact:
        grown = math.log(far / exact) / math.log(config.relative_distance / exact)
        far = min(exact + int(grown * (ranges - exact) + 1e-9), ranges - 1)
    return of_head[first + far]


def head_width(config: TransformerConfig) -> int:
    return config.width // config.heads if config.head_width is None else config.head_width


def norm_heads(config: TransformerConfig, w: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Every head by itself, one after another."""
    heads = np.split(x, x.shape[-1] // head_width(config), axis=-1)
    return np.concatenate([norm(config, w, head) for head in heads], axis=-1)


def turn(x: np.ndarray, position: int, base: float, scaling: Any = None) -> np.ndarray:
    """Each pair (x[i], x[i + half]) is a complex number, turned by position * base^(-2i/size)."""
    half = len(x) // 2
    out = np.empty_like(x)
    for i in range(half):
        frequency = base ** (-2 * i / len(x))
        angle = position * (frequency if scaling is None else scaled(frequency, scaling))
        turned = complex(x[i], x[i + half]) * complex(math.cos(angle), math.sin(angle))
        out[i], out[i + half] = turned.real, turned.imag
    return out


def scaled(frequency: float, scaling: Any) -> float:
    """As Llama 3's code has it, by the length of the wave."""
    wave = 2 * math.pi / frequency
    if scaling.original_length is None or wave > scaling.original_length / scaling.slow_turns:
        return frequency / scaling.factor
    if wave < scaling.original_length / scaling.fast_turns:
        return frequency
    smooth = scaling.original_length / wave - scaling.slow_turns
    smooth /= scaling.fast_turns - scaling.slow_turns
    return (1 - smooth) * frequency / scaling.factor + smooth * frequency


def feed_forward(config: TransformerConfig, w: dict[str, Any], x: np.ndarray) -> np.ndarray:
    up = linear(w["up"], x)
    if config.activation == "gelu":
        return linear(w["down"], gelu(up))
    if config.activation == "gelu_tanh":
        cubic = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
        return linear(w["down"], 0.5 * up * (1 + np.tanh(cubic)))
    if config.activation == "relu":
        return linear(w["down"], np.maximum(up, 0))
    if config.activation in ("silu", "quick_gelu"):
        steepness = {"silu": 1.0, "quick_gelu": 1.702}[config.activation]
        return linear(w["down"], up / (1 + np.exp(-steepness * up)))
    gate = linear(w["gate"], x)
    if config.activation == "geglu_tanh":
        cubic = math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)
        gate = 0.5 * gate * (1 + np.tanh(cubic))
    else:
        gate = gelu(gate) if config.activation == "geglu" else gate / (1 + np.exp(-gate))
    return linear(w["down"], gate * up)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def linear(w: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return x @ w["kernel"] + w.get("bias", 0)


def norm(config: TransformerConfig, w: dict[str, Any], x: np.ndarray) -> np.ndarray:
    if config.norm == "layer":
        x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.norm_epsilon) * w["scale"] + w.get(
        "bias", 0
    )


def _float64(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _float64(value) for name, value in tree.items()}
    return np.asarray(tree, np.float64)


def _at(tree: Any, i: int) -> Any:
    if isinstance(tree, dict):
        return {name: _at(value, i) for name, value in tree.items()}
    return tree[i]
