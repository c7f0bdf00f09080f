"""The image's content, made once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.dockerfile import build_context, environment
from tests.chart.runtime import Image, system_folders
from tests.conftest import unavailable

IMAGE_PATH = "/opt/throttle-exporter"
EPOCH = 1_700_000_000


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's folder, made for this machine's Python by the Dockerfile's step from the files it gets, no others."""
    scratch = tmp_path_factory.mktemp("image")
    folder, context = scratch / "opt", build_context(scratch / "context")
    variables = os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)}
    command = [sys.executable, str(context / "deploy" / "image" / "install.py"), str(folder), f"--path={IMAGE_PATH}"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode and re.search(r"connection|name resolution|timed out", done.stderr, re.IGNORECASE):
        unavailable("the packages of deploy/requirements/run.txt cannot be fetched")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def image(installed: Path) -> Image:
    """The image's folder on this machine's Python; nothing of this checkout or its environment is in it."""
    prefix = os.path.realpath(sys.base_prefix)
    folders = {folder: folder for folder in system_folders()} | {prefix: prefix, IMAGE_PATH: str(installed)}
    # -S: its own site-packages are no part of the image.
    python = (os.path.realpath(sys.executable), "-S", "-P")
    start = ("-c", "import sys; from exporter.__main__ import main; sys.exit(main())")
    return Image(folders, (*python, *start), environment())
