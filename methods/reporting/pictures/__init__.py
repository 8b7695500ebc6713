"""Pictures of results: arrays in, PNG bytes out.

Belongs here: the canvas of every picture, curves with bands, maps of images.
Does not belong here: pictures of one stage's training (``methods.reporting.figures``).
"""
