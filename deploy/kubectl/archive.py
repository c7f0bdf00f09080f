"""Makes the plugin's archive for krew and prints its sha256, which throttle.yaml holds.

Stored without compression, with one time and one mode, so that every machine and every zlib makes the same bytes: the
sum in the manifest is that of this commit's files, and a test compares them.

    python deploy/kubectl/archive.py [FILE.zip]
"""
# ruff: noqa: INP001, T201 - a script that prints

import hashlib
import io
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = {HERE / "kubectl-throttle": 0o100755, HERE.parent.parent / "LICENSE": 0o100644}
UNIX = 3


def archive() -> bytes:
    """Return the archive's bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for path, mode in FILES.items():
            # The earliest time that the format knows.
            entry = zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = UNIX, mode << 16
            file.writestr(entry, path.read_bytes())
    return buffer.getvalue()


if __name__ == "__main__":
    content = archive()
    for target in sys.argv[1:2]:
        Path(target).write_bytes(content)
    print(hashlib.sha256(content).hexdigest())
