"""Who reaches the web UI: nobody but this machine, unless a person says what stands in front."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from data_contracts.errors import InputError
from pipeline.web.address import listening_address, url_of

MEDFEAT = [sys.executable, "-c", "from pipeline.cli import main; main()"]


def own_addresses() -> list[str]:
    """Of this machine's network cards."""
    found = [
        address
        for card in psutil.net_if_addrs().values()
        for address in card
        if address.family == socket.AF_INET
    ]
    return [
        address.address
        for address in found
        if not ipaddress.ip_address(address.address).is_loopback
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.9.10", "::1"])
def test_this_machine_alone(host: str) -> None:
    assert ipaddress.ip_address(listening_address(host)).is_loopback


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "8.8.8.8", "10.0.0.1", "fe80::1", *own_addresses()]
)
def test_what_others_reach_is_refused_until_a_proxy_is_named(host: str) -> None:
    with pytest.raises(
        InputError,
        match=r"has no login: whoever reaches it starts and deletes runs.*--behind-proxy",
    ):
        listening_address(host)
    assert listening_address(host, behind_proxy=True) == host


def test_a_name_of_both_kinds_of_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
        for address in ("127.0.0.1", "192.0.2.7")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(InputError, match=r"other machines reach 192\.0\.2\.7"):
        listening_address("two-faced")


@pytest.mark.parametrize("host", ["", "no such host", "256.1.1.1", "x" * 300])
def test_no_address(host: str) -> None:
    with pytest.raises(InputError, match="is no address of this machine"):
        listening_address(host)


def test_an_address_of_ipv6_is_in_brackets() -> None:
    assert (url_of("127.0.0.1", 3000), url_of("::1", 3000)) == (
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
    )


def test_the_command_refuses_in_one_line(home: Path) -> None:
    said = subprocess.run(
        [*MEDFEAT, "ui", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 2
    assert said.stderr.startswith("error: other machines reach 0.0.0.0")
    assert said.stderr.count("\n") == 1


def listening(process: psutil.Process) -> set[str]:
    """Addresses on which a process or one below it listens."""
    found = set()
    for one in [process, *process.children(recursive=True)]:
        try:
            found |= {
                c.laddr.ip
                for c in one.net_connections("inet")
                if c.status == psutil.CONN_LISTEN or c.type == socket.SOCK_DGRAM
            }
        except psutil.NoSuchProcess:
            continue
    return found


def status_of(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=60
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_every_socket_of_the_ui_and_its_servers_is_on_loopback_and_all_end_with_it(
    home: Path, tmp_path: Path
) -> None:
    # what a script starts with `&` ignores SIGINT
    from_a_script = ["sh", "-c", """trap '' INT; exec "$@" """, "sh"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        command = [*from_a_script, *MEDFEAT, "ui", "--port", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        process, deadline, answers = psutil.Process(server.pid), time.monotonic() + 120, False
        seen: set[str] = set()
        while not answers and time.monotonic() < deadline:
            assert server.poll() is None, (tmp_path / "log").read_text()
            seen |= listening(process)
            with socket.socket() as client:
                answers = client.connect_ex(("127.0.0.1", port)) == 0
            time.sleep(0.3)
        names = [" ".join(child.cmdline()) for child in process.children(recursive=True)]
        seen |= listening(process)
        url = f"http://127.0.0.1:{port}/graphql?query={{version}}"
        asked = [status_of(url, {}), status_of(url, {"Origin": "http://elsewhere.example"})]
        children = process.children(recursive=True)
        server.terminate()
        server.wait(300)
        _, left = psutil.wait_procs(children, timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert left == []
    assert answers
    assert asked == [200, 403]
    assert any("code-server" in name or "api grpc" in name for name in names), names
    assert seen
    assert {address for address in seen if not ipaddress.ip_address(address).is_loopback} == set()
