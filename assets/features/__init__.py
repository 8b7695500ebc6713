"""Assets that store features, and the models that make them.

Belongs here: frozen networks, auto-encoders, codebooks, patch models, fine-tuned networks, lesions.
Does not belong here: classifiers and figures of merit (``assets.evaluations``).
"""
