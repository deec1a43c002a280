"""Losses in blocks, so that no matrix of all logits is held; gradients formed in the forward pass."""
