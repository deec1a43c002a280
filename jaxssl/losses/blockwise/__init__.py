"""Losses over very large matrices of logits, computed block by block so that the matrix is never held.

Two losses need a matrix that does not fit: a vocabulary head has `[tokens, vocab]` logits, and a
contrastive loss over a global batch has `[batch, batch]` similarities. The modules here compute
such a matrix in blocks. A backward pass would need the blocks again, so the gradient is formed in
the forward pass, while a block is at hand (`forward_gradients`).

    token_blocks, vocabulary_scores,                 blocks of tokens, each with
    vocabulary_gradients, vocabulary_sums            its logits over the vocabulary
    gumbel_noise, gumbel_max                         drawing a token from a row of logits
    ring, pair_tiles, pair_log_sums,                 tiles of the similarities
    pair_logistics                                   of all pairs of a batch

They are the machinery of `jaxssl.losses.vocabulary_head`, `sampled_head`, `token_sampling` and
`contrastive`; those hold the functions to call.
"""
