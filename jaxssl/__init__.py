"""Self-supervised pretraining in JAX and Flax: raw text to a checkpoint, a finetuned model, an export."""

__version__ = "0.1.0"
