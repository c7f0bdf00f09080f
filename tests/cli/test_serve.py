"""Process tuning changes what it names, and nothing else."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys

import pytest

from exporter.cli.serve import no_default_cas

LOADED = "import exporter.cli.serve, aiohttp.connector as c; print(len(c._SSL_CONTEXT_VERIFIED.get_ca_certs()))"


def test_ca_certificates_are_loaded_after_the_import_of_serve_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with no_default_cas():
        assert ssl.create_default_context().get_ca_certs() == []
    assert "SSL_CERT_FILE" not in os.environ
    assert subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True).stdout == b"0\n"
    monkeypatch.setenv("SSL_CERT_FILE", "/some/file")
    with no_default_cas():
        pass
    assert os.environ["SSL_CERT_FILE"] == "/some/file"
