"""Asks every exporter behind a Service for its page: what `helm test` runs, in the exporter's own image.

Arguments: host, port, scheme, path of the page, seconds, and "open" or "locked" (a stranger is to be turned away).
"""
# ruff: noqa: INP001, T201 - a script that the chart carries; its output is the test's log

import http.client
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

RETRY_SECONDS = 1.0
ANSWER_SECONDS = 10.0

Answer = tuple[bool, str]
"""Whether it is what an exporter says that works, and one line about it."""


def addresses(host: str, port: int) -> list[str]:
    """Every address of a headless Service, which also names the pods that are not ready."""
    return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


class Page(NamedTuple):
    """One exporter's page, and how many seconds each step of asking for it may take."""

    address: str
    port: int
    scheme: str
    path: str
    timeout: float


def fetch(page: Page) -> tuple[int, str]:
    """Status and text of one page."""
    connection: http.client.HTTPConnection
    if page.scheme == "https":
        # Whether the certificate is right is between the exporter and Prometheus: pods are asked by address here.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - see above
        connection = http.client.HTTPSConnection(page.address, page.port, timeout=page.timeout, context=context)
    else:
        connection = http.client.HTTPConnection(page.address, page.port, timeout=page.timeout)
    try:
        connection.request("GET", page.path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def verdict(status: int, page: str, *, locked: bool) -> Answer:
    """Whether the answer is what an exporter says that works, and one line about it."""
    if locked:
        return status == http.client.UNAUTHORIZED, f"status {status} for a stranger"
    samples = [line for line in page.splitlines() if line and not line.startswith("#")]
    containers = sum(line.startswith("cgroup_container_") for line in samples)
    own = sum(line.startswith("throttle_exporter_") for line in samples)
    text = f"status {status}, {len(samples)} samples, {containers} of them of containers"
    # The exporter's own container is one, so that none means that it reads the wrong tree.
    return status == http.client.OK and containers > 0 and own > 0, text


def ask(page: Page, *, locked: bool) -> Answer:
    """The verdict on one exporter."""
    try:
        status, text = fetch(page)
    except ssl.SSLError as error:
        # This is how a server says that it wants the client's certificate.
        return locked, f"TLS: {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return False, str(error) or type(error).__name__
    return verdict(status, text, locked=locked)


def round_of(hosts: Iterable[str], one: Callable[[str, float], Answer], left: Callable[[], float]) -> dict[str, Answer]:
    """Answers by address; who could not be asked in the time that is left counts as bad."""
    found = {}
    for host in hosts:
        seconds = left()
        found[host] = one(host, min(seconds, ANSWER_SECONDS)) if seconds > 0 else (False, "not asked: the time is over")
    return found


def settled(
    ask_all: Callable[[], dict[str, Answer]], left: Callable[[], float], sleep: Callable[[float], None]
) -> tuple[dict[str, Answer], bool]:
    """The last answers, and whether the same exporters, and no others, answered well in two rounds in a row.

    One round is not enough: just after an upgrade the Service may still name pods that are gone, and not all new ones.
    """
    before: set[str] = set()
    while True:
        found = ask_all()
        good = bool(found) and all(well for well, _ in found.values())
        if good and set(found) == before:
            return found, True
        before = set(found) if good else set()
        if left() <= RETRY_SECONDS:
            return found, False
        sleep(RETRY_SECONDS)


def main(arguments: list[str]) -> int:
    """Ask until all answer well twice, or the time is over."""
    host, port, scheme, path, seconds, access = arguments
    deadline = time.monotonic() + float(seconds)

    def left() -> float:
        return deadline - time.monotonic()

    def one(address: str, timeout: float) -> Answer:
        return ask(Page(address, int(port), scheme, path, timeout), locked=access == "locked")

    def ask_all() -> dict[str, Answer]:
        try:
            return round_of(addresses(host, int(port)), one, left)
        except OSError as error:
            return {host: (False, str(error))}

    found, stable = settled(ask_all, left, time.sleep)
    for address, (good, text) in found.items():
        print("ok " if good else "BAD", address, text)
    if not stable and all(good for good, _ in found.values()):
        print("BAD", host, "no two rounds in a row had the same exporters")
    return 0 if stable else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
