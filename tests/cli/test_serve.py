"""Process tuning changes what it names, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import reload

import pytest

from exporter.cli import serve

LOADED = """
import os, exporter.cli.serve, aiohttp.connector
print(len(aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), "SSL_CERT_FILE" in os.environ)
"""


def test_ca_certificates_are_loaded_after_the_import_of_serve_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True).stdout == b"0 False\n"
    monkeypatch.setenv("SSL_CERT_FILE", "/some/file")
    reload(serve)
    assert os.environ["SSL_CERT_FILE"] == "/some/file"
