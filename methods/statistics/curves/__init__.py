"""Curves of scores with bands over groups.

Belongs here: operating points of a classifier at every threshold, and how they vary.
Does not belong here: areas and their tests (``methods.statistics.roc``), pictures.
"""
