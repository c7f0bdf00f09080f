"""The program from the command line to the exit code."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from docs.reference import PAGES
from exporter import __version__
from exporter.__main__ import main
from exporter.cli import COMMANDS, DEFAULT, Command
from exporter.errors import ConfigError, MappingError
from exporter.settings import OPTIONS, Settings
from tests.conftest import Generated
from tests.support.process import command, environment

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("root_logger")


@dataclass(frozen=True)
class Fake(Command):
    """A command that notes what it is run with."""

    act: Callable[[], int] = lambda: 0
    runs: list[tuple[Settings, Namespace]] = field(default_factory=list)

    @override
    def load(self) -> Any:
        return self

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", nargs="?")
        parser.add_argument("--output", choices=("text", "json"))
        parser.add_argument("--for", type=int, dest="seconds")

    def run(self, settings: Settings, args: Namespace) -> int:
        self.runs.append((settings, args))
        return self.act()


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


class Program:
    """``main`` with two commands of the test's own."""

    def __init__(self, act: Callable[[], int] = lambda: 0) -> None:
        self.serve = Fake(DEFAULT, "serve the node", log_level="info", act=act)
        self.explain = Fake("explain", "say why", act=act)

    def run(self, *argv: str, environ: dict[str, str] | None = None) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(argv, environ=environ or {}, commands=(self.serve, self.explain))
        return Outcome(code, out.getvalue(), err.getvalue())


def fail(error: BaseException) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


def help_to(stdout: int) -> tuple[int, bytes]:
    """Exit code and standard error of the process."""
    ended = subprocess.run(
        command("--help"), env=environment(), cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=50
    )
    return ended.returncode, ended.stderr


def test_without_a_command_it_serves() -> None:
    program = Program()
    assert program.run("--sample.interval=2s") == Outcome(0, "", "")
    assert Program(lambda: 1).run("explain").code == 1
    assert [settings.sample_interval for settings, _ in program.serve.runs] == [2.0]
    assert program.explain.runs == []


@pytest.mark.parametrize(
    "argv",
    [
        "--sample.interval 2s --collector.distribution explain ns/pod --output json",
        "explain ns/pod --output json --sample.interval=2s --collector.distribution",
        "explain --sample.interval=2s --output=json --collector.distribution ns/pod",
        "--collector.distribution=true explain --no-collector.info=true ns/pod --sample.interval 2s --output json",
    ],
)
def test_options_stand_before_or_after_the_command(argv: str) -> None:
    program = Program()
    assert program.run(*argv.split()).code == 0
    [(settings, args)] = program.explain.runs
    assert (settings.sample_interval, settings.collector_distribution) == (2.0, True)
    assert (args.target, args.output) == ("ns/pod", "json")


def test_a_command_that_answers_on_a_terminal_logs_from_warn_on() -> None:
    def log() -> int:
        logging.getLogger("exporter.test").info("told")
        return 0

    assert Program(log).run("serve").err.count("told") == 1
    assert Program(log).run("explain").err == ""
    assert Program(log).run("explain", "--log.level=info", "--log.format=json").err.count('"msg":"told"') == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sample.interval=0s"], "--sample.interval: must be between 100ms and 60s, not '0s'"),
        (["--sample.interval"], "--sample.interval: expected one argument"),
        (["--sample.intervall=1s"], "--sample.intervall: unknown option, did you mean --sample.interval?"),
        (["--sample.inter", "1s"], "--sample.inter: unknown option, did you mean --sample.interval?"),
        (["--no-collector.usag"], "--no-collector.usag: unknown option, did you mean --no-collector.usage?"),
        (["--no-sample.interval"], "--no-sample.interval: unknown option, did you mean --sample.interval?"),
        (["--collector.burst=maybe"], "--collector.burst: must be true or false, not 'maybe'"),
        (["-x"], "-x: unknown option"),
        (["explian"], "unknown command 'explian', did you mean explain?"),
        (["explain", "a", "b"], "unexpected argument 'b'"),
        (["explain", "--outptu=json"], "--outptu: unknown option, did you mean --output?"),
        (["explain", "--output=yaml"], "--output: invalid choice: 'yaml' (choose from "),
        (["explain", "--for=long"], "--for: invalid int value: 'long'"),
        (["--token=secret\n"], "--token: unknown option"),
        (["a\nb"], "unknown command 'a\\nb'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(argv: list[str], message: str) -> None:
    program = Program()
    outcome = program.run(*argv)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"throttle-exporter: error: {message}")
    assert outcome.err.count("\n") == 1
    assert "secret" not in outcome.err
    assert program.serve.runs == program.explain.runs == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError("--web.listen-address: 127.0.0.1:80 is in use"), "--web.listen-address: 127.0.0.1:80 is in use"),
        (MappingError("line one\nline two", reason="http_403"), "line one\\nline two"),
        (ExceptionGroup("tasks", [ConfigError("--path.cgroup: no tree")]), "--path.cgroup: no tree"),
        (FileNotFoundError(2, "No such file or directory", "/x\n"), "'/x\\n': No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_a_command_cannot_do_is_one_line_and_exit_code_2(error: Exception, message: str) -> None:
    assert Program(fail(error)).run() == Outcome(2, "", f"throttle-exporter: error: {message}\n")


words = st.one_of(
    st.sampled_from(["serve", "explain", "--", "-", "--help", "-h", "--output", "json", "--for", "1", ""]),
    st.sampled_from([f"--{row.flag}" for row in OPTIONS]),
    st.tuples(st.sampled_from([f"--{row.flag}=" for row in OPTIONS]), st.text(max_size=10)).map("".join),
    st.text(max_size=10),
    st.text(max_size=10).map("--".__add__),
)


@given(st.lists(words, max_size=6))
def test_any_command_line_runs_or_is_one_line(argv: list[str]) -> None:
    program = Program()
    outcome = program.run(*argv)
    if outcome.code:
        assert outcome.code == 2
        assert outcome.err.startswith("throttle-exporter: error: ")
        assert outcome.err.removesuffix("\n").isprintable()
        assert outcome.out == ""
    else:
        assert outcome.err == ""
        assert outcome.out or len(program.serve.runs + program.explain.runs) == 1


def test_a_defect_is_one_log_line_and_its_own_exit_code() -> None:
    outcome = Program(fail(KeyError("x"))).run()
    assert outcome.code == 70
    assert outcome.err.count("\n") == 1
    assert "level=critical" in outcome.err
    assert 'err="KeyError: \'x\'" at="tests/test_main.py:' in outcome.err


def test_ctrl_c_is_quiet() -> None:
    assert Program(fail(KeyboardInterrupt())).run() == Outcome(130, "", "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert help_to(writer) == (141, b"")
    os.close(writer)


def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        assert help_to(full.fileno()) == (2, b"throttle-exporter: error: No space left on device\n")


def test_help_names_every_option_and_command_within_80_columns() -> None:
    program = Program()
    page = program.run("--help").out
    assert max(map(len, page.splitlines())) <= 80
    assert [row.flag for row in OPTIONS if f"-{row.flag} " not in page and f"-{row.flag}\n" not in page] == []
    assert all(
        f"\n{title}:\n" in page for title in ("commands", "path", "web", "sample", "kubelet", "collector", "log")
    )
    assert "  explain  say why\n" in page
    assert program.serve.runs == []


def test_help_of_a_command_shows_its_own_options() -> None:
    for argv in (["explain", "--help"], ["-h", "explain"]):
        page = Program().run(*argv).out
        assert page.startswith("usage: throttle-exporter explain ")
        assert "--output" in page
        assert "--path.cgroup" not in page


def test_help_and_version_work_whatever_the_environment() -> None:
    environ = {"THROTTLE_EXPORTER_NONSENSE": "1"}
    assert Program().run("--help", environ=environ).code == 0
    assert Program().run("serve", "--version", environ=environ).out == f"throttle-exporter {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        ("--help", {"pydantic", "asyncio", "yaml", "aiohttp", "kubernetes", "prometheus_client", "rich"}),
        ("serve --help", {"pydantic", "yaml", "jinja2", "kubernetes", "rich", "exporter.analysis.findings"}),
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: str, unwanted: set[str]) -> None:
    code = "import sys; from exporter.__main__ import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    argv = [sys.executable, "-c", code, *arguments.split()]
    result = subprocess.run(argv, env=environment(), cwd=ROOT, capture_output=True, text=True, check=True)
    assert unwanted.isdisjoint(result.stderr.split())


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_command_is_there_and_has_help(row: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([row.name, "--help"], environ={}) == 0
    page, errors = capsys.readouterr()
    assert errors == ""
    assert page.startswith(f"usage: throttle-exporter {row.name} ")
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.docs
@pytest.mark.parametrize("name", [name for name, _ in PAGES])
def test_generated_documentation_is_fresh(name: str, generated: Generated) -> None:
    generated(ROOT / "docs" / name, dict(PAGES)[name]())


def test_tables_of_generated_documentation_are_whole() -> None:
    for _, page in PAGES:
        lines = page().splitlines()
        tables = [line for line in lines if line.startswith("|")]
        columns = [line.count("|") for line in tables]
        for before, after in pairwise(lines):
            if before.startswith("|") and after.startswith("|"):
                assert before.count("|") == after.count("|"), after
        assert min(columns) >= 4
    options = dict(PAGES)["options.md"]()
    assert [row.flag for row in OPTIONS if f"`{row.variable}`<br>`{row.flag}`" not in options] == []
