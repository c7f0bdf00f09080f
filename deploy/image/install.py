"""Fills a folder with all that the image holds beside Python: locked dependencies, the exporter, compiled.

The Dockerfile runs it, and a test runs it on the machine at hand, so that what is tested is what is built. Nothing
but wheels with a hash in deploy/requirements is installed, so no code of a dependency runs while the image is built.
The same sources, Python and SOURCE_DATE_EPOCH give the same bytes.

    python install.py FOLDER [--machine aarch64] [--path /opt/throttle-exporter]
"""
# ruff: noqa: INP001, S603 - a script, run before anything is installed; it starts only this Python

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
LOCKS = PROJECT / "deploy" / "requirements"

GLIBC = range(41, 16, -1)
"""Minor versions of glibc whose wheels Debian 13 (2.41) can load."""

UNWANTED = ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json")
"""What pip notes about an installation: paths of the build, and nothing that runs reads it."""


def pip(*arguments: str) -> None:
    """``pip install``, which says nothing but what went wrong."""
    command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "--no-input", "install"]
    # As root in a throw-away builder there is nobody to warn.
    environment = os.environ | {"PIP_ROOT_USER_ACTION": "ignore"}
    subprocess.run([*command, "--no-compile", *arguments], check=True, env=environment)


def locked(lock: str, target: Path, *arguments: str) -> None:
    """Everything in a lock, by hash, wheels only."""
    pip("--require-hashes", "--only-binary=:all:", f"--target={target}", *arguments, "-r", str(LOCKS / lock))


def foreign(machine: str) -> list[str]:
    """What tells pip to fetch for another machine than this one."""
    if machine == platform.machine():
        return []
    version = ".".join(map(str, sys.version_info[:2]))
    tags = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC] + [f"manylinux2014_{machine}"]
    return [f"--python-version={version}", *(f"--platform={tag}" for tag in tags)]


def build_wheel(scratch: Path) -> Path:
    """The exporter's own wheel, built by the locked tools."""
    tools, wheels = scratch / "tools", scratch / "wheels"
    locked("build.txt", tools, "--no-deps")
    environment = os.environ | {"PYTHONPATH": str(tools)}
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    subprocess.run(command, check=True, cwd=PROJECT, env=environment)
    [wheel] = wheels.iterdir()
    return wheel


def compile_all(folder: Path, path: str) -> None:
    """Bytecode that is never checked against its source: the image is read-only, and times in it mean nothing."""
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(folder), "-p", path, str(folder)], check=True)


def clean(folder: Path) -> None:
    """Drop programs, whose first line names this Python, and pip's notes."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for note in [note for name in UNWANTED for note in folder.glob(f"*.dist-info/{name}")]:
        note.unlink()


def everything(folder: Path) -> Iterator[Path]:
    """The folder itself and all that is in it."""
    yield folder
    yield from folder.rglob("*")


def level(folder: Path, epoch: int) -> None:
    """One time and two modes for all: readable by the image's user, written by nobody."""
    for found in everything(folder):
        found.chmod(0o755 if found.is_dir() else 0o644)
        os.utime(found, (epoch, epoch))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--machine", default=platform.machine(), help="as uname -m says it: x86_64, aarch64")
    parser.add_argument("--path", default="/opt/throttle-exporter", help="where the folder will be in the image")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        locked("run.txt", given.folder, *foreign(given.machine))
        clean(given.folder)
        pip("--no-deps", "--no-index", f"--target={given.folder}", str(build_wheel(Path(scratch))))
    clean(given.folder)
    compile_all(given.folder, given.path)
    level(given.folder, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))


if __name__ == "__main__":
    main()
