"""The address that the web UI listens on: loopback, unless a proxy with a login is in front."""

from __future__ import annotations

import ipaddress
import socket

from data_contracts.errors import InputError
from pipeline import environment

LOOPBACK = "127.0.0.1"
"""The address that every machine has and no other machine reaches."""
ANY_NAME = environment.UI_ANY_NAME.name
"""Environment variable of the web server: "1" behind a proxy lets ``Host`` be any name."""


def listening_address(host: str, behind_proxy: bool = False) -> str:
    """Return the numeric address of ``host``.

    A name could have another address by the time the server resolves it.

    Args:
        host: IPv4 or IPv6 address, or a name.
        behind_proxy: allow an address that other machines reach.

    Raises:
        InputError: it is no address, or other machines reach it and ``behind_proxy`` is false.
    """
    try:
        resolved = socket.getaddrinfo(
            host or "?", None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        raise InputError(
            f"{host!r} is no address of this machine",
            f"Leave --host away, or give {LOOPBACK} or ::1",
        ) from None
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in resolved))
    reached = [
        address
        for address in addresses
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback
    ]
    if reached and not behind_proxy:
        raise InputError(
            f"other machines reach {reached[0]}, and Dagster's server has no login: whoever "
            "reaches it starts and deletes runs",
            "Leave --host away and use an SSH tunnel, or put a proxy with a login in front and add "
            "--behind-proxy",
        )
    return LOOPBACK if LOOPBACK in addresses else addresses[0]


def url_of(address: str, port: int) -> str:
    """Return the address to type into a browser."""
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
