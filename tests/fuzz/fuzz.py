"""A coverage-guided fuzzer on one parser: ``python -m tests.fuzz.fuzz TARGET [OPTION OF LIBFUZZER]... [FOLDER]...``.

Needs atheris, which no test does. Input that reaches new code is written to the first folder; that of the kept corpus
is read as well. ``-max_total_time=20`` ends it after 20 s. Input that raises what is not ours ends it, and is kept.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 2048
"""Bytes of an input: parsers have no states that only longer ones reach, but for those of ``test_time``."""


def main(target: str, *options: str) -> None:
    """Hand the rest of the process to the fuzzer."""
    atheris = importlib.import_module("atheris")  # only who fuzzes has it
    with atheris.instrument_imports(include=["exporter"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - what is imported here is watched

    bounds = [f"-max_len={LONGEST}", "-timeout=10"]
    atheris.Setup([sys.argv[0], *bounds, *options, str(CORPUS / target)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
