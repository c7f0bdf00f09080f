"""The small process is small for the reasons given, and for nothing else."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys

import pytest

from exporter.cli.frugal import without_authorities

LOADED = "import exporter.cli.serve, aiohttp.connector as c; print(len(c._SSL_CONTEXT_VERIFIED.get_ca_certs()))"


def test_serve_reads_no_certificate_authorities_that_nobody_asks() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT")}
    shown = subprocess.run(
        [sys.executable, "-c", LOADED], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert int(shown) == 0


def test_who_asks_for_the_machine_s_authorities_afterwards_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    usual = len(ssl.create_default_context().get_ca_certs())
    with without_authorities():
        assert ssl.create_default_context().get_ca_certs() == []
    assert "SSL_CERT_FILE" not in os.environ
    assert len(ssl.create_default_context().get_ca_certs()) == usual


def test_a_file_that_the_user_named_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/some/file")
    with without_authorities():
        assert os.environ["SSL_CERT_FILE"] == "/some/file"
    assert os.environ["SSL_CERT_FILE"] == "/some/file"
