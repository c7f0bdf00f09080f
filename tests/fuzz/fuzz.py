"""A coverage-guided fuzzer on one parser: ``python -m tests.fuzz.fuzz TARGET --seconds 20``.

Needs atheris, which no test does. Begins with the kept corpus of the target, writes what reaches new code to a folder
beside, and with ``--keep`` puts the smallest set that reaches as much into the corpus. Input that raises what is not
ours ends it, and is shown and kept in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 2048
"""Bytes of an input: parsers have no states that only longer ones reach, but for those of ``test_time``."""
KEPT_BYTES = 8_000
"""Of one target's corpus."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--keep", action="store_true", help="put what was found into tests/fuzz/corpus")
    parser.add_argument("--in-process", metavar="PROGRAM", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.in_process:
        run(options.target, [options.in_process, *rest])
        return 0
    kept = CORPUS / options.target
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found, smallest = Path(folder, "found"), Path(folder, "smallest")
        found.mkdir()
        program = program_file(Path(folder), options.target)
        code = child(program, options.target, f"-max_total_time={options.seconds}", str(found), str(kept))
        if options.keep and code == 0:
            smallest.mkdir()
            code = child(program, options.target, "-merge=1", str(smallest), str(kept), str(found))
            keep(smallest, kept)
    return code


def program_file(folder: Path, target: str) -> Path:
    """What starts the fuzzer: a file of its own, because a merge starts its program again and again by its name."""
    program = folder / "again"
    again = shlex.join([sys.executable, "-m", "tests.fuzz.fuzz", target, "--in-process", str(program)])
    program.write_text(f'#!/bin/sh\nexec {again} "$@"\n')
    program.chmod(0o700)
    return program


def child(program: Path, target: str, *arguments: str) -> int:
    """libFuzzer ends its process when it ends, so each run has one of its own."""
    bounds = [f"-max_len={LONGEST}", "-timeout=10", f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{target}-"]
    return subprocess.run([program, *bounds, *arguments], check=False).returncode


def run(target: str, command: list[str]) -> None:
    """Hands the rest of the process to the fuzzer."""
    atheris = importlib.import_module("atheris")  # only who fuzzes has it
    with atheris.instrument_imports(include=["exporter"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - what is imported here is watched

    atheris.Setup(command, TARGETS[target])
    atheris.Fuzz()


def keep(found: Path, kept: Path) -> None:
    """The corpus is what is in ``found``, the shortest first, up to its size; written by hand stays (``hand-*``)."""
    for file in kept.iterdir():
        if not file.name.startswith("hand-"):
            file.unlink()
    by_hand = {file.read_bytes() for file in kept.iterdir()}
    total = sum(map(len, by_hand))
    for file in sorted(found.iterdir(), key=lambda file: file.stat().st_size):
        if file.read_bytes() in by_hand:
            continue
        total += file.stat().st_size
        if total > KEPT_BYTES:
            break
        os.replace(file, kept / file.name[:12])


if __name__ == "__main__":
    sys.exit(main())
