"""The host side: sources, tokenizers, prepared rows and their loader. Never JAX."""
