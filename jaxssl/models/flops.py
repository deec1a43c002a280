"""Floating-point operations of a transformer, counted from its shapes (a multiply-add is two)."""

from jaxssl.models.transformer_config import TransformerConfig


def forward_flops(config: TransformerConfig, length: int) -> float:
    """Of one row of `length` tokens through all layers, without lookup and heads.

    Per token: the projections 2 d (h + 2 k) e + 2 h e d, the MLP 4 d m (6 d m where it is gated),
    and the attention 4 h e l, halved where it is causal, l at most twice the window where local;
    and once 2 t d where embeddings of width t are widened.
    """
    head = config.width // config.heads
    kv_heads = config.kv_heads or config.heads
    inner = config.mlp or 4 * config.width
    gated = config.activation in ("swiglu", "geglu")
    projections = 2 * config.width * head * (2 * config.heads + 2 * kv_heads)
    mlp = (6 if gated else 4) * config.width * inner
    attention = 0.0
    for is_local in config.local_layers:
        reach = min(length, 2 * config.window) if is_local and config.window else length
        attention += 4 * config.heads * head * reach / (2 if config.causal else 1)
    narrow = config.table_width
    widening = 2 * narrow * config.width if narrow != config.width else 0
    return length * (widening + config.depth * (projections + mlp) + attention)


def cross_flops(decoder: TransformerConfig, length: int, memory: int) -> float:
    """Of a decoder's row of `length` tokens that reads `memory` states, through all layers.

    Projections of queries and outputs 4 d h e a token, of keys and values 4 d k e a state, and the
    attention 4 h e a token and state.
    """
    head = decoder.width // decoder.heads
    kv_heads = decoder.kv_heads or decoder.heads
    projections = 4 * decoder.width * head * (decoder.heads * length + kv_heads * memory)
    return decoder.depth * (projections + 4 * decoder.heads * head * length * memory)
