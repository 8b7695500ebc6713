"""Assets that predict labels for images that have none.

Belongs here: the classifier that is kept, and its predictions.
Does not belong here: scores on the test split (``assets.evaluations``).
"""

from assets.predictions.predictions import classifier, predictions

ASSETS = [classifier, predictions]
