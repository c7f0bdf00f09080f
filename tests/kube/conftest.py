"""What a pod in a cluster has to ask with, and how a source fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.errors import MappingError
from exporter.kube.source import PodSource
from tests.support.fake_kubelet import Authority
from tests.support.reasons import POD_REASONS


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


class Files:
    """The token and the CA of a service account."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.token = folder / "token"
        self.token.write_text("first-token\n")
        self.ca = folder / "ca.crt"
        authority.write(self.ca)


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    return Files(tmp_path, authority)


async def failure(source: PodSource, reason: str) -> str:
    """The one line that the failure of this source says."""
    with pytest.raises(MappingError) as caught:
        await source.pods()
    message = str(caught.value)
    assert caught.value.reason == reason, message
    assert reason in POD_REASONS
    assert "\n" not in message
    assert not any(secret in message for secret in ("first-token", "internal details", "secret"))
    return message
