"""Labelled tasks on top of a pretrained network, and their scores.

classify.py   classification of a text or a pair of texts, by finetuning the network
probe.py      linear and nearest-neighbour classification on features that are not trained further
scores.py     accuracy, F1, Matthews and Spearman correlation from labels and predictions
"""
