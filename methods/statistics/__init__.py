"""Figures of merit, their intervals and their tests.

Belongs here: metrics, ROC analysis, significance, label efficiency.
Does not belong here: how the figures are shown (``methods.reporting``).
"""
