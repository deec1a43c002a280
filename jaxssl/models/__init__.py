"""Networks as plain pytrees: Flax NNX modules without state of their own; keys are arguments.

transformer.py  one configuration and one network for BERT, GPT-2 and the modern recipe
encoder_decoder.py  an encoder and a decoder of it, as in T5 and BART
recipes.py      the recipes, as functions that return a `Transformer`
layers.py       linear, embedding, norm, feed-forward;  attention.py, rotary.py: attention
stack.py        the one place where layers are stacked and run
dropout.py      cheap dropout with explicit keys
packing.py      segments and positions of packed rows
layout.py       path of a parameter -> axes of the mesh;  plain.py: what goes on disk
"""
