"""``docs/web-config.md`` shows what is read, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from exporter.web import REASONS
from exporter.web.config import CURVES, TlsConfig, parse
from exporter.web.server import Limits

TEXT = (Path(__file__).parent.parent.parent / "docs" / "web-config.md").read_text()


def column(heading: str) -> set[str]:
    """What stands in backticks in the first column of the table under this heading."""
    rows = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0].split("\n")[2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_example_is_a_web_config() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    config = parse(example.encode(), "/etc/web.yml")
    assert config.tls_server_config is not None
    assert set(config.basic_auth_users) == {"prometheus"}
    assert config.headers


def test_every_key_of_tls_and_every_reason_is_explained() -> None:
    assert column("key of `tls_server_config`") == TlsConfig.model_fields.keys()
    assert column("reason") == REASONS


@pytest.mark.parametrize("key", sorted(column("other keys")))
def test_every_other_key_is_one(key: str) -> None:
    text = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(key.split(".")))
    parse(text.encode(), "/etc/web.yml")


def test_the_limits_are_the_ones_in_force() -> None:
    limits = Limits()
    table = TEXT.partition("| limit |")[2].partition("\n\n")[0]
    for shown in (
        f"| {limits.connections} |",
        f"| {limits.request_seconds:.0f} s each |",
        f"| {limits.request_bytes >> 10} KiB; line and each header {limits.header_bytes} bytes, ",
        f" bytes, {limits.headers} headers |",
        f"| {limits.idle_seconds:.0f} s |",
        f"| {limits.answer_seconds:.0f} s to make it, and some of it read every {limits.stall_seconds:.0f} s |",
        f"| {limits.held_bytes >> 20} MiB |",
    ):
        assert shown in table
    assert len(fields(limits)) == 9, "a new limit belongs into the table"
    assert all(name in TEXT for name in CURVES)
