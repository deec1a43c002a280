"""One self-supervised task a file: idea, equation, reference, dataclass, corruption, loss."""

from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.objectives.masked_lm import MaskedLM
from jaxssl.objectives.sentence_pairs import NextSentence, SentenceOrder
from jaxssl.objectives.simcse import SimCSE

__all__ = ["CausalLM", "MaskedLM", "NextSentence", "SentenceOrder", "SimCSE"]
