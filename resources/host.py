"""This host: what tells its processes from those of others that have the same numbers."""

import hashlib
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""File of the random id that Linux draws at every boot."""
MACHINE_ID = Path("/etc/machine-id")
"""File of the random id that a system is given when it is installed; not to be shown as it is."""
PID_NAMESPACE = Path("/proc/self/ns/pid")
"""Link that names the PID namespace of this process: containers of one machine have several."""

Place = Literal["here", "earlier boot", "elsewhere"]
"""Where a process is or was: among those that this one sees, before this boot, or on another
host."""


@dataclass(frozen=True)
class Host:
    """A set of processes whose numbers differ.

    Attributes:
        name: network name and a digest of the machine id, where there is one.
        boot: id of the boot and the PID namespace, with a space between them; "" where the system
            has neither (macOS).
    """

    name: str
    boot: str

    def place_of(self, other: "Host") -> Place:
        """Tell where a process of another host is, as seen from this one.

        Another PID namespace of this boot is another host: its processes cannot be examined.
        """
        if self == other:
            return "here"
        boots = {one.boot.partition(" ")[0] for one in (self, other)}
        return "earlier boot" if self.name == other.name and len(boots) == 2 else "elsewhere"

    @property
    def token(self) -> str:
        """Return a digest of 12 hex digits that stands for this host in names of files."""
        return hashlib.sha256(f"{self.name} {self.boot}".encode()).hexdigest()[:12]


@cache
def this_host() -> Host:
    """Return the host of this process."""
    name, boot, namespace = platform.node(), "", ""
    with suppress(OSError):
        machine = MACHINE_ID.read_text().strip()
        if machine:
            name += f"/{hashlib.sha256(f'medfeat {machine}'.encode()).hexdigest()[:8]}"
    with suppress(OSError):
        boot = BOOT_ID.read_text().strip()
        namespace = os.readlink(PID_NAMESPACE)
    return Host(name, f"{boot} {namespace}".strip())
