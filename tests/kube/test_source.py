from pathlib import Path

import pytest

from exporter.errors import MappingError
from exporter.identities import PodList
from exporter.kube.source import FileSource, NoneSource, TimedFile
from tests.kube.conftest import failure
from tests.support.pods import pod, pod_list


async def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    source = FileSource(str(path))
    await failure(source, "not_found")
    for name in ("one", "two"):
        path.write_bytes(pod_list(pod("uid", name)))
        assert (await source.pods()).pods["uid"].name == name
    path.write_text("kind: PodList\nitems: []\n")
    await failure(source, "malformed")
    await failure(FileSource(str(tmp_path)), "unreadable")


async def test_a_file_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"12345")
    assert await TimedFile(str(path), "file", most=5).read() == b"12345"
    with pytest.raises(MappingError, match=f"^file {path}: more than 4 bytes$"):
        await TimedFile(str(path), "file", most=4).read()


async def test_none_knows_nothing_and_never_fails() -> None:
    assert await NoneSource().pods() == PodList(pods={})
