"""A ``cadvisor`` binary of the PATH, measured on the same tree; never a reason to fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.bench.peers import Speed
from tests.bench.process import watch
from tests.bench.results import Cadvisor, Running, Scrapes
from tests.bench.scraping import free_port, one_each_tick, scraper
from tests.support.process import end

HOUSEKEEPING_SECONDS = 10
_START_SECONDS = 30.0


def cadvisor(seconds: float, scrapes: int, speed: Speed) -> Cadvisor | None:
    """``None`` when there is none on the PATH."""
    program = shutil.which("cadvisor")
    if program is None:
        return None
    version = _version(program)
    port = free_port()
    interval = f"{HOUSEKEEPING_SECONDS}s"
    # Without the dynamic intervals it would look at an idle container ever less often.
    options = ["-listen_ip=127.0.0.1", f"-port={port}", f"-housekeeping_interval={interval}"]
    options += [f"-max_housekeeping_interval={interval}", "-allow_dynamic_housekeeping=false", "-logtostderr"]
    with TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                [program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )
        except OSError as error:
            return Cadvisor(version=version, why_not=f"did not start: {error.strerror}")
        try:
            running, page = _measure(process, port, seconds, scrapes, speed)
            return Cadvisor(version=version, scrapes=page, running=running)
        except OSError as error:
            why = f"{error}; exit code {process.poll()}; {_last_line(log)}"
            return Cadvisor(version=version, why_not=why)
        finally:
            end(process)


def _measure(
    process: subprocess.Popen[bytes], port: int, seconds: float, scrapes: int, speed: Speed
) -> tuple[Running, Scrapes]:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port):
        if process.poll() is not None:
            raise OSError("ended before it answered")
        if time.monotonic() > deadline:
            raise OSError(f"no page within {_START_SECONDS:.0f} s")
        time.sleep(0.1)
    time.sleep(min(seconds, HOUSEKEEPING_SECONDS + 2))  # what comes first is not what it costs every day
    running = watch(process.pid, port, seconds, speed)
    speed.ask()
    return running, one_each_tick(port, scrapes).at(speed.around())


def _answers(port: int) -> bool:
    with suppress(OSError), scraper(port) as one:
        one.scrape()
        return True
    return False


def _version(program: str) -> str:
    """As it says itself: ``cAdvisor version v0.38.7 (...)``."""
    try:
        ran = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return f"{Path(program).name} of unknown version"
    found = re.search(r"v?\d+\.\d+[\w.+-]*", ran.stdout + ran.stderr)
    return f"cAdvisor {found[0] if found else 'of unknown version'}"


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][:160] if lines else "no word on standard error"
    # It goes into a table.
    return "".join(letter if letter.isprintable() and letter != "|" else " " for letter in last)
