"""Assets that predict labels for images that have none.

Belongs here: the classifier that is kept, and its predictions.
Does not belong here: scores on the test split (``assets.evaluations``).
"""

from assets.predictions.classifier import classifier
from assets.predictions.predictions import predictions

ASSETS = [classifier, predictions]
