"""Self-supervised pretraining in JAX and Flax: raw text to a checkpoint, a finetuned model, an export."""

from jaxssl.help_text import show_fields as show_fields

__version__ = "0.1.0"
