"""Labelled tasks on top of a pretrained network, one a file.

classify.py   which of a few classes a text, or a pair of texts, belongs to
probe.py      how well labels follow from features that stay as they are
scores.py     accuracy, F1 and Matthews correlation from labels and predictions
"""
