"""Classifiers on rows of features: linear and polynomial SVMs, calibration, prediction.

Belongs here: fits and decisions on a matrix of features.
Does not belong here: figures of merit of the decisions (``methods.statistics``).
"""
