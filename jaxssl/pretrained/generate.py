"""Goes on with texts, as a causal language model or a decoder beside an encoder writes.

generator = Generator.of(load_pretrained("runs/gpt"))
generator(["It was a bright"], GenerationConfig(tokens=50, top_p=0.95))[0].text
for piece in generator.stream("It was a bright"): print(piece, end="", flush=True)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int

from jaxssl.data.tokenizers.given_texts import given_texts
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, brief, check_at_least, checked
from jaxssl.models.decoding.language_models import CausalWriter, EncoderDecoderWriter
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.objectives.denoising import Denoising
from jaxssl.objectives.span_corruption import SpanCorruption
from jaxssl.pretrained.generation.beams import BeamSearch
from jaxssl.pretrained.generation.sampling import Sampling
from jaxssl.pretrained.generation.text_stream import TextStream
from jaxssl.pretrained.generation.tokens import TokenWriter
from jaxssl.pretrained.load import Pretrained

CONTEXT = 8  # tokens of a prompt that the first tokens behind it are decoded with
WRITERS = (CausalLM, Denoising, SpanCorruption)


@dataclass(frozen=True)
@checked
class GenerationConfig:
    """How texts are written."""

    tokens: int = 128
    """Largest number of tokens behind a prompt."""
    temperature: float = 1.0
    """Number that logits are divided by before a token is drawn. 0: the most probable token is taken."""
    top_k: int | None = None
    """Number of the most probable tokens that are drawn from. None: all."""
    top_p: float | None = None
    """The fewest tokens that together have this share of the probability are drawn from. None: all."""
    min_p: float | None = None
    """Tokens with less than this share of the greatest probability are not drawn. None: all are."""
    beams: int = 1
    """Texts that are followed at a time; above 1 the most probable text is searched, and nothing is drawn."""
    length_penalty: float = 1.0
    """Power of the number of tokens that the scores of beams are divided by."""
    early_stopping: bool | Literal["never"] = False
    """When beams are done: True, with as many finished texts as beams; False, when the best running one could
    not be among them at its length; "never", when it could not at any."""
    stop: tuple[str, ...] = ()
    """Strings before which a text ends."""
    seed: int = 0
    """Number that the random keys come from. The same prompt at the same place of a list gets the same
    text."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "tokens", "beams")
        check_at_least(self, 0, "seed")
        limits = [name for name in ("top_k", "top_p", "min_p") if getattr(self, name) is not None]
        if self.beams > 1 and limits:
            raise InputError(
                f"{limits[0]} has no effect with beams={self.beams}, which are searched and not drawn; leave "
                "one of them out"
            )
        if not all(self.stop):
            raise InputError("stop contains an empty string, which would end every text; remove it")
        _ = self.sampling, self.search  # their fields are checked, too

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(self.temperature, self.top_k, self.top_p, self.min_p)

    @property
    def search(self) -> BeamSearch:
        """How beams are searched."""
        return BeamSearch(self.beams, self.length_penalty, self.early_stopping)


class Generated(NamedTuple):
    """A text behind a prompt."""

    text: str
    """The text, without the prompt."""
    tokens: Int[np.ndarray, " length"]
    """Its token ids, `[length]`, with those of an end token or a stop string."""
    ended: str
    """Why it ends: "end" token, "stop" string, "tokens" (so many were asked for), or "max_length" (the
    network takes no longer rows)."""


@dataclass
class _Text:
    """A text that is being written."""

    stream: TextStream
    limit: int
    is_full: bool  # whether the limit is that of the network
    ends: tuple[int, ...]
    pieces: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    ended: str = ""

    def push(self, token: int) -> str:
        """Adds a token, and returns the text that is new."""
        if self.ended:
            return ""
        self.tokens.append(token)
        piece = "" if token in self.ends else self.stream.push(token)
        if token in self.ends:
            self.ended = "end"
        elif self.stream.stopped:
            self.ended = "stop"
        elif len(self.tokens) == self.limit:
            self.ended = "max_length" if self.is_full else "tokens"
        if self.ended:
            piece += self.stream.finish()
        self.pieces.append(piece)
        return piece

    def result(self) -> Generated:
        return Generated("".join(self.pieces), np.array(self.tokens, np.int32), self.ended)


@dataclass(frozen=True)
class Generator:
    """A language model that writes, with its tokenizer."""

    writer: CausalWriter | EncoderDecoderWriter
    """The model."""
    tokenizer: Tokenizer
    """Tokenizer of the texts."""
    vocab_size: int
    """Number of token ids of the model."""
    begin: int | None = None
    """Token that every prompt begins with. None: there is none."""
    batch: int = 16
    """Number of texts that are written at once, beams counted."""

    @classmethod
    def of(cls, pretrained: Pretrained) -> "Generator":
        """Makes the generator of a run.

        Args:
          pretrained: What the run has made.

        Raises:
          InputError: The objective of the run does not train a network that writes.
        """
        objective, model = pretrained.objective, pretrained.model
        writer: CausalWriter | EncoderDecoderWriter
        if isinstance(objective, CausalLM):
            writer = CausalWriter.of(model, prefix=objective.prefix)
        elif isinstance(objective, Denoising | SpanCorruption):
            bottleneck = getattr(objective, "bottleneck", None)
            first = _first_tokens(pretrained)
            writer = EncoderDecoderWriter.of(model, first, bottleneck=bottleneck)
        else:
            names = ", ".join(kind.__name__ for kind in WRITERS)
            raise InputError(
                f"a run with the objective {type(objective).__name__} does not write texts; load a run with "
                f"one of the objectives {names}"
            )
        begin: int | None = pretrained.tokenizer.begin
        if pretrained.origin is not None and pretrained.origin.config.get("bos_token_id") != begin:
            begin = None  # a folder such as GPT-2's, whose texts have no begin token
        return cls(writer, pretrained.tokenizer, len(model.output_embedding()), begin)

    def __call__(
        self, prompts: Sequence[str], config: GenerationConfig | None = None
    ) -> list[Generated]:
        """Goes on with prompts, several at a time.

        Args:
          prompts: Beginnings of texts, or what the encoder of an encoder-decoder reads.
          config: How the texts are written; `None`: drawn at temperature 1, 128 tokens at most.

        Returns:
          The text behind each prompt, in their order.

        Raises:
          InputError: `prompts` is a single string, or a prompt is empty or too long.
        """
        config = GenerationConfig() if config is None else config
        rows = self._encode(given_texts(prompts, "prompts"))
        results: dict[int, Generated] = {}
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        size = max(self.batch // config.beams, 1)
        for first in range(0, len(order), size):
            numbers = order[first : first + size]
            texts = [self._text(rows[number], config) for number in numbers]
            own = [rows[number] for number in numbers]
            if config.beams > 1:
                limits = np.array([text.limit for text in texts])
                found = self._tokens.searched(own, limits, config.search)
                for text, (tokens, _) in zip(texts, found, strict=True):
                    for token in tokens:
                        text.push(int(token))
            else:
                for _ in self._draw(own, numbers, texts, config):
                    pass
            results |= dict(zip(numbers, (text.result() for text in texts), strict=True))
        return [results[number] for number in range(len(rows))]

    def stream(self, prompt: str, config: GenerationConfig | None = None) -> Iterator[str]:
        """Goes on with a prompt, and yields the text piece by piece while it is made.

        A piece has whole characters. Beams are not known before all is done, and come in one piece.

        Args:
          prompt: Beginning of a text.
          config: How the text is written.

        Yields:
          Pieces, which together are the text that a call returns for the same prompt alone.

        Raises:
          InputError: The prompt is empty or too long.
        """
        config = GenerationConfig() if config is None else config
        if config.beams > 1:
            yield self([prompt], config)[0].text
            return
        rows = self._encode(given_texts([prompt], "prompts"))
        text = self._text(rows[0], config)
        for pieces in self._draw(rows, [0], [text], config):
            if pieces[0]:
                yield pieces[0]

    def _draw(
        self,
        rows: list[np.ndarray],
        numbers: list[int],
        texts: list[_Text],
        config: GenerationConfig,
    ) -> Iterator[list[str]]:
        """Draws tokens until all texts have ended; yields what is new of each."""
        most = max(text.limit for text in texts)
        drawn = self._tokens.drawn(rows, most, config.sampling, seed=config.seed, rows=numbers)
        for tokens in drawn:
            yield [text.push(int(token)) for text, token in zip(texts, tokens, strict=True)]
            if all(text.ended for text in texts):
                return

    def _encode(self, prompts: list[str]) -> list[Int[np.ndarray, " length"]]:
        """The tokens that the network reads of every prompt."""
        special = self.tokenizer
        begin = [] if self.begin is None else [self.begin]
        end = [] if self.is_causal else [special.end]
        rows = []
        for number, (prompt, ids) in enumerate(
            zip(prompts, self.tokenizer.encode(prompts), strict=True), 1
        ):
            if not len(ids):
                raise InputError(
                    f"prompt {number} is {brief(prompt)}, which has no tokens; give the beginning of a text"
                )
            rows.append(np.array([*begin, *ids, *end], np.int32))
            config = self._reads
            if len(rows[-1]) + self.is_causal > config.max_length and not config.longer_rows:
                room = " with one for what is written" if self.is_causal else ""
                raise InputError(
                    f"prompt {number} has {len(rows[-1])} tokens, and the network takes {config.max_length}"
                    f"{room}; shorten {brief(prompt)}"
                )
        return rows

    def _text(self, row: np.ndarray, config: GenerationConfig) -> _Text:
        """A text without tokens, which is to follow the prompt `row`."""
        writer = self.writer
        written = len(row) if isinstance(writer, CausalWriter) else len(writer.begin)
        own = self.writer.config
        room = config.tokens if own.longer_rows else own.max_length - written
        context = row[-CONTEXT:] if self.is_causal else ()
        return _Text(
            TextStream(self._decode, [int(id) for id in context], config.stop),
            min(config.tokens, room),
            room < config.tokens,
            self._tokens.ends,
        )

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode([id for id in ids if id < self.tokenizer.vocab_size])

    @property
    def is_causal(self) -> bool:
        """Whether texts go on from their prompts; otherwise an encoder reads the prompts."""
        return isinstance(self.writer, CausalWriter)

    @property
    def _reads(self) -> TransformerConfig:
        """Configuration of the network that reads the prompts."""
        writer = self.writer
        return writer.config if isinstance(writer, CausalWriter) else writer.model.encoder.config

    @cached_property
    def _tokens(self) -> TokenWriter:
        """What writes tokens; special ones are banned, except the end and sentinels of hidden spans."""
        banned = np.ones(self.vocab_size, bool)
        known = self.tokenizer.special[: self.vocab_size]
        banned[: len(known)] = known
        if not self.is_causal:
            banned[self.tokenizer.vocab_size :] = False
        banned[self.tokenizer.end] = False
        return TokenWriter(self.writer, (self.tokenizer.end,), banned)


def _first_tokens(pretrained: Pretrained) -> tuple[int, ...]:
    """The tokens that the decoder beside an encoder begins with."""
    if pretrained.origin is None:
        return (pretrained.tokenizer.begin,)
    config = pretrained.origin.config
    named = (config.get("decoder_start_token_id"), config.get("forced_bos_token_id"))
    found = tuple(id for id in named if isinstance(id, int))
    return found or (pretrained.tokenizer.begin,)
