"""Asks every exporter behind a Service for its page: what `helm test` runs, in the exporter's own image.

Arguments: host, port, scheme, path of the page, seconds, and "open" or "locked" (a stranger is to be turned away).
"""
# ruff: noqa: INP001, T201 - a script that the chart carries; its output is the test's log

import http.client
import socket
import ssl
import sys
import time

RETRY_SECONDS = 1.0


def addresses(host: str, port: int) -> list[str]:
    """Every address of a headless Service; the pods that are not ready have none."""
    return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


def fetch(address: str, port: int, scheme: str, path: str) -> tuple[int, str]:
    """Status and text of one page."""
    connection: http.client.HTTPConnection
    if scheme == "https":
        # Whether the certificate is right is between the exporter and Prometheus: pods are asked by address here.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - see above
        connection = http.client.HTTPSConnection(address, port, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def verdict(status: int, page: str, *, locked: bool) -> tuple[bool, str]:
    """Whether the answer is what an exporter says that works, and one line about it."""
    if locked:
        return status == http.client.UNAUTHORIZED, f"status {status} for a stranger"
    samples = [line for line in page.splitlines() if line and not line.startswith("#")]
    containers = sum(line.startswith("cgroup_container_") for line in samples)
    own = sum(line.startswith("throttle_exporter_") for line in samples)
    text = f"status {status}, {len(samples)} samples, {containers} of them of containers"
    # The exporter's own container is one, so that none means that it reads the wrong tree.
    return status == http.client.OK and containers > 0 and own > 0, text


def ask(address: str, port: int, scheme: str, path: str, *, locked: bool) -> tuple[bool, str]:
    """The verdict on one exporter."""
    try:
        status, page = fetch(address, port, scheme, path)
    except ssl.SSLError as error:
        # This is how a server says that it wants the client's certificate.
        return locked, f"TLS: {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return False, str(error) or type(error).__name__
    return verdict(status, page, locked=locked)


def main(arguments: list[str]) -> int:
    """Ask until all answer well, or the time is over."""
    host, port, scheme, path, seconds, access = arguments
    deadline = time.monotonic() + float(seconds)
    while True:
        try:
            found = {
                address: ask(address, int(port), scheme, path, locked=access == "locked")
                for address in addresses(host, int(port))
            }
        except OSError as error:
            found = {host: (False, str(error))}
        if all(good for good, _ in found.values()) or time.monotonic() >= deadline:
            break
        time.sleep(RETRY_SECONDS)
    for address, (good, text) in found.items():
        print("ok " if good else "BAD", address, text)
    return 0 if all(good for good, _ in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
