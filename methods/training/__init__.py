"""Networks that are trained by gradient descent.

Belongs here: losses, training loops, checkpoints, batches.
Does not belong here: frozen networks (``methods.features``), fast products (``methods.kernels``).
"""
