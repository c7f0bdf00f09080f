"""A ``cadvisor`` binary of the PATH, measured on the same tree; never a reason to fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from contextlib import suppress
from tempfile import TemporaryFile

from tests.bench.process import Scraper, Watched, watch
from tests.support.process import end, free_port

HOUSEKEEPING_SECONDS = 10
_START_SECONDS = 30.0


def cadvisor(seconds: float, scrapes: int) -> tuple[str, Watched | None]:
    """Its version with what it costs, or the reason for which it was not measured."""
    program = shutil.which("cadvisor")
    if program is None:
        return "cAdvisor: not measured, no cadvisor on the PATH", None
    port, interval = free_port(), f"{HOUSEKEEPING_SECONDS}s"
    # Without the dynamic intervals it would look at an idle container ever less often.
    options = ["-listen_ip=127.0.0.1", f"-port={port}", f"-housekeeping_interval={interval}"]
    options += [f"-max_housekeeping_interval={interval}", "-allow_dynamic_housekeeping=false", "-logtostderr"]
    with TemporaryFile() as log:
        try:
            process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=log)
        except OSError as error:
            return f"cAdvisor: not measured, {error.strerror}", None
        try:
            _wait(process, port)
            time.sleep(min(seconds, HOUSEKEEPING_SECONDS + 2))  # what comes first is not what it costs every day
            return _version(program), watch(process.pid, port, seconds, scrapes)
        except OSError as error:
            log.seek(0)
            last = (log.read().decode(errors="replace").strip().splitlines() or ["no word"])[-1][:160]
            # It goes into a table.
            return f"cAdvisor: not measured, {error}: {re.sub(r'[^ -{}~]', ' ', last)}", None
        finally:
            end(process)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            scraper = Scraper(port)
            scraper.scrape()
            scraper.close()
            return
        time.sleep(0.1)
    raise OSError(f"no page; exit code {process.poll()}")


def _version(program: str) -> str:
    """As it says itself: ``cAdvisor version v0.38.7 (...)``."""
    ran = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"v?\d+\.\d+[\w.+-]*", ran.stdout + ran.stderr)
    return f"cAdvisor {found[0] if found else 'of unknown version'}"
