"""From images to rows of numbers: frozen networks, descriptors, codebooks, patches, radiomics.

Belongs here: features that are read from a network or computed by a formula, and their unsupervised
    dictionaries.
Does not belong here: networks that are trained by gradient descent (``methods.training``).
"""
