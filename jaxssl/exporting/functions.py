"""What a pretrained network computes of what it reads, as plain functions of named arrays.

These functions are exported as StableHLO, and compare a run with what was written of it:

    masked LM           tokens                    -> states, logits
    causal LM           tokens                    -> states, logits
    ELECTRA             tokens                    -> states, replaced (logits of the discriminator)
    other text          tokens                    -> states
    encoder-decoder     tokens, decoder_tokens    -> states, logits
    images              pixels                    -> features
    images with texts   pixels -> embedding; tokens -> embedding, one function each

Beside the states, a function of texts returns `embedding`, pooled as the objective says. Nothing is dropped,
cropped or drawn, and XLA computes attention, so that the function is the same on every platform.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxssl.data.images import ImageSpec
from jaxssl.errors import InputError
from jaxssl.models.encoder_decoder import EncoderDecoder, Memory
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import pool_pieces
from jaxssl.models.pretraining.word_vectors import WordVectorModel
from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.objectives.electra import Electra
from jaxssl.objectives.image_text import ImageText
from jaxssl.objectives.masked_lm import MaskedLM
from jaxssl.pretrained.images import encoder_of, has_image_encoder, make_preprocessing

ROWS, LONGEST_SAMPLE = 3, 48  # of the inputs that `sample` draws
Outputs = dict[str, Array]


@dataclass(frozen=True)
class Input:
    """The shape and the type of an array that a function reads."""

    shape: tuple[str | int, ...]
    """Size of each axis; a name, such as "batch", stands for any size."""
    dtype: str
    """Type of the numbers, such as "int32"."""


@dataclass(frozen=True)
class ModelFunction:
    """A function from what a network reads to what it computes."""

    name: str
    """What it reads: "texts" or "images"."""
    inputs: Mapping[str, Input]
    """Shape and type of each array that it reads, by name."""
    limits: Mapping[str, int]
    """Largest size of the axes that have one, by their names."""
    compute: Callable[..., Outputs]
    """Computes named outputs from the model, the carried state, and the inputs by name."""


def functions_of(objective: Any, model: Any, spec: Any) -> tuple[ModelFunction, ...]:
    """Returns what the network of a run computes: one function, or two for images with texts.

    Args:
      objective: Objective that the model was trained with.
      model: The model, with arrays or shapes.
      spec: Description of the data, a `TextSpec` or an `ImageSpec`.

    Raises:
      InputError: The objective says that there is no network, or the model is a table of word vectors.
    """
    if isinstance(model, WordVectorModel):
        raise InputError(
            "word vectors are a table and no function of texts; export them with --to word2vec or numpy"
        )
    if isinstance(objective, ImageText):
        return _of_images(objective, spec), _of_captions(objective, spec.captions)
    if isinstance(spec, ImageSpec):
        if not has_image_encoder(model):
            raise InputError(
                f"a {type(model).__name__} has no encoder of images; export it with --to numpy"
            )
        return (_of_images(objective, spec),)
    if isinstance(model, EncoderDecoder):
        return (_of_pairs(model, spec),)
    return (_of_texts(objective, objective.network(model).config, spec),)


def sample(function: ModelFunction, spec: Any) -> dict[str, np.ndarray]:
    """Draws inputs of a function, always the same: rows of random tokens, one of them full, or random pixels.

    Args:
      function: The function.
      spec: Description of the data.

    Returns:
      An array for each input. A row of tokens is `begin`, ordinary tokens, `end` and then padding.
    """
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for name, wanted in function.inputs.items():
        if name == "pixels":
            arrays[name] = random.integers(0, 256, (ROWS, *_fixed(wanted))).astype(np.uint8)
            continue
        texts = texts_of(spec)
        length = min(LONGEST_SAMPLE, function.limits.get(str(wanted.shape[1]), LONGEST_SAMPLE))
        rows = np.full((ROWS, length), texts.pad, np.int32)
        ordinary = np.flatnonzero(~np.asarray(texts.special))
        for number, row in enumerate(rows):
            size = max(length - number * length // ROWS, 2)
            text = random.choice(ordinary, size - 2)
            row[:size] = [texts.begin, *text, texts.end][:size]
        arrays[name] = rows
    return arrays


def texts_of(spec: Any) -> Any:
    """Returns the description of the texts or captions that `spec` describes; None for images alone."""
    return spec.captions if isinstance(spec, ImageSpec) else spec


def _fixed(wanted: Input) -> list[int]:
    """The sizes of the axes behind the first, which are numbers."""
    return [size for size in wanted.shape[1:] if isinstance(size, int)]


def _of_texts(objective: Any, config: Any, spec: Any) -> ModelFunction:
    def compute(model: Any, carried: Any, tokens: Array) -> Outputs:
        network = objective.network(model)
        segments = segments_of(tokens, spec.begin, spec.pad)
        states = network(tokens, segments)
        outputs = {"states": states.astype(jnp.float32)}
        outputs["embedding"] = _pooled(states, segments, objective.text_pooling)
        if isinstance(objective, MaskedLM):
            bias = model.output_bias[...][None, None]
            outputs["logits"] = _products(model.token_head(states), model.output_embedding()) + bias
        elif isinstance(objective, CausalLM):
            outputs["logits"] = _products(states, model.output_embedding())
        elif isinstance(objective, Electra):
            outputs["replaced"] = model.replaced_head(states).astype(jnp.float32)
        return outputs

    limits = {} if config.longer_rows else {"length": config.max_length}
    return ModelFunction("texts", {"tokens": _tokens("length")}, limits, compute)


def _of_pairs(model: EncoderDecoder, spec: Any) -> ModelFunction:
    def compute(model: Any, carried: Any, tokens: Array, decoder_tokens: Array) -> Outputs:
        segments, written = (
            segments_of(part, spec.begin, spec.pad) for part in (tokens, decoder_tokens)
        )
        states = model.encoder(tokens, segments)
        decoded = model.decode(decoder_tokens, written, Memory(states, segments))
        logits = _products(decoded, model.output_embedding())
        return {"states": states.astype(jnp.float32), "logits": logits}

    inputs = {"tokens": _tokens("length"), "decoder_tokens": _tokens("decoder_length")}
    parts = {"length": model.encoder.config, "decoder_length": model.decoder.config}
    limits = {name: part.max_length for name, part in parts.items() if not part.longer_rows}
    return ModelFunction("texts", inputs, limits, compute)


def _of_images(objective: Any, spec: ImageSpec) -> ModelFunction:
    preprocess = make_preprocessing(objective)

    def compute(model: Any, carried: Any, pixels: Array) -> Outputs:
        encoder, statistics = encoder_of(model, carried)
        features = encoder(preprocess(pixels), statistics=statistics)[0]
        if isinstance(objective, ImageText):
            return {"embedding": model.image_projection(features).astype(jnp.float32)}
        return {"features": features.astype(jnp.float32)}

    shape = ("batch", spec.height, spec.width, spec.channels)
    return ModelFunction("images", {"pixels": Input(shape, "uint8")}, {}, compute)


def _of_captions(objective: ImageText, spec: Any) -> ModelFunction:
    def compute(model: Any, carried: Any, tokens: Array) -> Outputs:
        segments = segments_of(tokens, spec.begin, spec.pad)
        pooled = _pooled(model.text(tokens, segments), segments, objective.pooling)
        return {"embedding": model.text_projection(pooled).astype(jnp.float32)}

    limits = {} if objective.text.longer_rows else {"length": objective.text.max_length}
    return ModelFunction("texts", {"tokens": _tokens("length")}, limits, compute)


def _tokens(length: str) -> Input:
    return Input(("batch", length), "int32")


def _pooled(states: Array, segments: Array, pooling: Any) -> Array:
    """The vector of each row's first piece, `[batch, width]`."""
    return pool_pieces(states, segments, pieces=1, pooling=pooling)[:, 0]


def _products(states: Array, table: Array) -> Array:
    """Logits `states @ table.T`, float32."""
    return jnp.matmul(states, table.astype(states.dtype).T, preferred_element_type=jnp.float32)
