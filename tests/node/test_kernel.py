"""Which kernels throttle far below the limit, by their release alone."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.model import CfsQuotaBug
from exporter.node.machine import cfs_quota_bug, read_release
from tests.support.recordings import RECORDINGS, Recording


@pytest.mark.parametrize(
    ("release", "bug"),
    [
        # mainline: broken by 512ac999d275 in 4.18, mended by de53fd7aedb1 in 5.4
        ("4.17.19", "fixed"),
        ("4.18.0", "affected"),
        ("4.18.20", "affected"),
        ("4.20.17", "affected"),
        ("5.0.0", "affected"),
        ("5.2.21", "affected"),
        ("5.4.0", "fixed"),
        ("5.4.0-rc8", "fixed"),
        ("5.10.209", "fixed"),
        ("6.18.38", "fixed"),
        ("10.0.1", "fixed"),
        # stable lines that took the fault, the fix, or both
        ("4.14.94", "fixed"),
        ("4.14.95", "affected"),
        ("4.14.153", "affected"),
        ("4.14.154", "fixed"),
        ("4.19.0", "affected"),
        ("4.19.83", "affected"),
        ("4.19.84", "fixed"),
        ("5.3.8", "affected"),
        ("5.3.9", "fixed"),
        ("4.9.200", "fixed"),
        ("3.16.85", "fixed"),
        # vendors number their own patches on an old base
        ("3.10.0-1160.el7.x86_64", "unknown"),
        ("4.18.0-305.el8.x86_64", "unknown"),
        ("4.15.0-112-generic", "unknown"),
        ("4.15.0-1060-aws", "unknown"),
        ("4.14.97-90.72.amzn2.x86_64", "unknown"),
        ("4.19.0-6-amd64", "unknown"),
        ("4.19.0-0.bpo.8-cloud-amd64", "unknown"),
        ("4.19.112+", "unknown"),
        ("4.19.81-coreos", "unknown"),
        ("4.12.14-122.37-default", "unknown"),
        ("4.14.138-rancher", "unknown"),
        ("4.19.76-linuxkit", "unknown"),
        ("5.3.0-rc1", "unknown"),
        # and nobody numbers a kernel of 5.4 or later that has the fault
        ("5.4.0-1018-aws", "fixed"),
        ("5.14.0-362.el9.x86_64", "fixed"),
        ("6.1.0-56-cloud-amd64", "fixed"),
        ("6.18.44-fc-v657", "fixed"),
        # no release at all
        (None, "unknown"),
        ("", "unknown"),
        ("linux", "unknown"),
        ("5", "unknown"),
        ("5.", "unknown"),
        ("v5.4.0", "unknown"),
        ("4.19", "unknown"),
        ("4.19.", "unknown"),
        ("5.15", "fixed"),
    ],
)
def test_release_says_whether_the_kernel_has_the_fault(release: str | None, bug: CfsQuotaBug) -> None:
    assert cfs_quota_bug(release) == bug


@given(st.text() | st.from_regex(r"[0-9]+\.[0-9]+(\.[0-9]+)?.*"))
@example("9" * 5000 + ".1.2")
@example("4.19." + "9" * 5000)
@example("\u0664.\u0661\u0669.\u0661")
def test_any_text_is_judged(release: str) -> None:
    assert cfs_quota_bug(release) in {"affected", "fixed", "unknown"}


def test_release_is_read_from_sysctl_before_version(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP\n")
    assert read_release(str(tmp_path)) == "6.1.0-56-cloud-amd64"
    (tmp_path / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "sys" / "kernel" / "osrelease").write_text("6.18.15+deb13-cloud-amd64\n")
    assert read_release(str(tmp_path)) == "6.18.15+deb13-cloud-amd64"


@pytest.mark.parametrize("text", [b"", b"\n", b"Linux\n", b"Linux version\n"])
def test_a_kernel_that_does_not_say_is_not_known(tmp_path: Path, text: bytes) -> None:
    assert read_release(str(tmp_path)) is None
    (tmp_path / "version").write_bytes(text)
    assert read_release(str(tmp_path)) is None


def test_what_is_no_text_is_readable_text_in_the_end(tmp_path: Path) -> None:
    (tmp_path / "version").write_bytes(b"Linux version 6.1\xff\xfe\n")
    release = read_release(str(tmp_path))
    assert release is not None
    assert release.encode()
    (tmp_path / "sys" / "kernel" / "osrelease").mkdir(parents=True)
    assert read_release(str(tmp_path)) == release


def test_a_release_of_any_length_is_cut(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("Linux version " + "9" * 10_000_000)
    release = read_release(str(tmp_path))
    assert release is not None
    assert len(release) < 5000
    assert cfs_quota_bug(release) == "unknown"


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_recorded_kernel_is_the_one_that_ran(recording: Recording) -> None:
    release = read_release(str(recording.t0 / "proc"))
    assert release is not None
    assert release.startswith(("6.1.", "6.18."))
