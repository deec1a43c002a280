"""Networks as plain pytrees: Flax NNX modules without any state of their own; keys are arguments.

transformer.py   one configuration and one network for BERT, GPT-2 and the modern recipe
recipes.py       the recipes themselves, as functions that return a `Transformer`
layers.py        linear, embedding, norm, feed-forward, the layer; attention.py and rotary.py: attention
stack.py         the one place where layers are stacked and run;  dropout.py: cheap dropout with explicit keys
packing.py       segments and positions of packed rows;  layout.py: parameter path -> mesh axes;  plain.py: on disk
"""
