"""The device a stage computes on."""

import dagster as dg

from data_contracts.errors import InputError


class Compute(dg.ConfigurableResource[None]):
    """``device``: "auto" (CUDA where there is one, then Apple's MPS, then CPU), "cpu", "cuda" or "mps"."""

    device: str = "auto"

    def resolve(self) -> str:
        """Name of the torch device.

        Raises:
            InputError: the device asked for is not there.
        """
        import torch

        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if self.device == "auto":
            return next(name for name in ("cuda", "mps", "cpu") if there[name])
        if not there.get(self.device, False):
            available = ", ".join(name for name, yes in there.items() if yes)
            raise InputError(f"the device {self.device!r} is not available", f"Use one of: auto, {available}")
        return self.device
