"""Networks that are trained by gradient descent.

Belongs here: losses, training loops and their settings; ``loop`` has what all of them share. Does
not belong here: frozen networks (``methods.features``), fast products (``methods.kernels``).
"""
