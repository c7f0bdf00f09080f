"""Log lines: one per event, parseable, without a foreign byte, repetitions summarised."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ReadError
from exporter.log import MAX_VALUE_LENGTH, DuplicateFilter, EventFormatter, configure, fields

PAIR = re.compile(r'([A-Za-z0-9_]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?: |$)')


def parsed(line: str) -> dict[str, str]:
    """A logfmt line's pairs, read without help of what wrote it."""
    position, found = 0, {}
    while position < len(line):
        match = PAIR.match(line, position)
        assert match, line[position:]
        found[match[1]] = str(json.loads(match[2])) if match[2].startswith('"') else match[2]
        position = match.end()
    return found


def record(message: str, *args: object, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("exporter.kube.kubelet", logging.WARNING, "", 0, message, args, None)
    made.created = 1795298389.9996
    vars(made).update(attributes)
    return made


def line(made: logging.LogRecord, *, as_json: bool = False) -> str:
    return EventFormatter(as_json=as_json).format(made)


def failed(error: BaseException) -> logging.LogRecord:
    return record("it failed", exc_info=(type(error), error, error.__traceback__))


def raised(raise_it: Callable[[], object]) -> Exception:
    try:
        raise_it()
    except Exception as error:  # noqa: BLE001 - any is wanted
        return error
    raise AssertionError


class Log:
    """A logger with our handler alone, on a clock of the test's own."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.now = 0.0
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(EventFormatter(as_json=False))
        self.handler.addFilter(DuplicateFilter(lambda: self.now))
        self.logger = logging.getLogger("exporter.tests")
        self.logger.propagate = False
        self.logger.setLevel(logging.DEBUG)
        self.logger.handlers[:] = [self.handler]

    def take(self) -> list[dict[str, str]]:
        lines = self.stream.getvalue().splitlines()
        self.stream.seek(0)
        self.stream.truncate()
        return [parsed(line) for line in lines]


def test_an_event_is_one_line_of_logfmt_or_json() -> None:
    made = record("kubelet %s", "refused", **fields(status=403, path="/pods", after=0.5, retry=True, body=None))
    assert line(made) == (
        'ts=2026-11-21T21:59:49.999Z level=warn msg="kubelet refused" logger=kube.kubelet '
        "status=403 path=/pods after=0.5 retry=true body=null"
    )
    assert line(made, as_json=True) == (
        '{"ts":"2026-11-21T21:59:49.999Z","level":"warn","msg":"kubelet refused","logger":"kube.kubelet",'
        '"status":403,"path":"/pods","after":0.5,"retry":true,"body":null}'
    )


@given(st.text(), st.dictionaries(st.sampled_from("abc"), st.text() | st.integers() | st.floats() | st.none()))
def test_whatever_the_text_a_line_is_one_line_of_printable_ascii_that_parses(message: str, own: dict[str, Any]) -> None:
    made = record("%s", message, fields=own)
    for as_json in (False, True):
        assert re.fullmatch(r"[ -~]+", line(made, as_json=as_json))
    assert parsed(line(made))["msg"] == message
    assert json.loads(line(made, as_json=True))["msg"] == message


@given(st.text(min_size=MAX_VALUE_LENGTH + 1, max_size=MAX_VALUE_LENGTH * 2))
def test_long_values_are_cut_before_they_are_escaped(text: str) -> None:
    found = json.loads(line(record("%s", text, **fields(body=text)), as_json=True))
    assert found["msg"] == found["body"] == text[:MAX_VALUE_LENGTH] + "..."


def test_an_exception_is_told_with_type_message_and_place_innermost_first() -> None:
    def read() -> None:
        try:
            int("x")
        except ValueError as error:
            raise ReadError("cpu.stat", "no such\nfile", reason="enoent") from error

    found = parsed(line(failed(raised(read))))

    assert found["err"] == "ReadError: cpu.stat: no such"
    assert re.fullmatch(r"tests/test_log.py:\d+ read < tests/test_log.py:\d+ raised", found["at"])
    assert found["cause"].startswith("ValueError: invalid literal")


def test_a_group_is_told_by_what_is_in_it() -> None:
    group = ExceptionGroup("tasks", [ValueError("first"), ExceptionGroup("inner", [KeyError("second")])])
    assert parsed(line(failed(group)))["err"] == "ExceptionGroup: ValueError: first; KeyError: 'second'"


def test_what_other_packages_quote_of_their_input_below_the_first_line_is_not_told() -> None:
    body = "1 validation error for PodList\nitems\n  Field required [input_value={'token': 'hunter2'}]"
    assert "hunter2" not in line(failed(ValueError(body)))


def test_the_same_event_is_written_once_in_thirty_seconds_and_then_counted() -> None:
    log = Log()
    for second in range(61):
        log.now = float(second)
        log.logger.warning("kubelet %s", second)
    found = log.take()
    assert [(event["msg"], event.get("suppressed")) for event in found] == [
        ("kubelet 0", None),
        ("kubelet 30", "29"),
        ("kubelet 60", "29"),
    ]


def test_events_that_differ_in_message_level_or_exception_are_not_the_same() -> None:
    log = Log()
    for _ in range(3):
        log.logger.warning("a")
        log.logger.warning("b")
        log.logger.error("a")
        for error in (ValueError("x"), KeyError("x")):
            log.logger.error("a", exc_info=error)
    assert len(log.take()) == 5


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 400)), max_size=600))
def test_no_event_passes_twice_in_thirty_seconds_unless_256_others_came_between(events: list[tuple[int, int]]) -> None:
    now = 0.0
    duplicates = DuplicateFilter(lambda: now)
    written: dict[int, tuple[float, int]] = {}
    for index, (step, number) in enumerate(events):
        now += step
        passes = duplicates.filter(record(f"event {number}"))
        last = written.get(number)
        if passes:
            written[number] = now, index
        if last is None or now - last[0] >= 30.0:
            assert passes
        elif index - last[1] <= 256:
            assert not passes


def test_other_packages_are_not_heard_below_warn(root_logger: logging.Logger) -> None:
    stream = io.StringIO()
    handler = configure("debug", "logfmt", stream)
    logging.getLogger("exporter.kube").debug("ours")
    logging.getLogger("kubernetes.client.rest").debug("response body: token")
    logging.getLogger("kubernetes.client.rest").info("response body: token")
    logging.getLogger("asyncio").warning("slow")
    assert handler in root_logger.handlers
    assert [parsed(text)["msg"] for text in stream.getvalue().splitlines()] == ["ours", "slow"]


def test_setting_up_again_replaces(root_logger: logging.Logger) -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "logfmt", first)
    configure("error", "json", second)
    logging.getLogger("exporter").warning("unheard")
    logging.getLogger("exporter").error("heard")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["msg"] == "heard"
    assert len([handler for handler in root_logger.handlers if isinstance(handler.formatter, EventFormatter)]) == 1


@pytest.mark.usefixtures("root_logger")
@pytest.mark.filterwarnings("always")
def test_warnings_are_events() -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)
    warnings.showwarning("old\nthing", DeprecationWarning, "file.py", 1)
    [text] = stream.getvalue().splitlines()
    assert parsed(text)["level"] == "warn"
    assert "old\nthing" in parsed(text)["msg"]


@pytest.mark.usefixtures("root_logger")
def test_a_log_that_cannot_be_written_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure("info", "logfmt", stream)
    stream.close()
    logging.getLogger("exporter").warning("into the void")
    assert capsys.readouterr() == ("", "")
