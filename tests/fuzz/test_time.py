"""No input costs more than its length: four times as much of it, not sixteen times the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.fuzz.targets import TARGETS

KERNEL_BYTES: Final = 64 * 1024
"""What a reader takes of a kernel file at most."""
BYTES: Final = {
    **dict.fromkeys(("pod_list", "configz", "annotations", "log_names", "checkpoint"), 256 * 1024),
    "watch": 32 * 1024,
    # The user's own. PyYAML needs half a second for brackets nested as deep as Python's stack allows.
    **dict.fromkeys(("config_file", "web_config"), 4 * 1024),
}
"""The same of what is no kernel file."""
FACTOR: Final = 4
MOST_GROWTH: Final = 2.5 * FACTOR
"""A quadratic parser takes 16 times as long for four times the input."""
MOST_SECONDS: Final = 10.0
"""Many times what any of them takes on an idle machine: it guards against a parser that never ends."""
FLOOR_SECONDS: Final = 0.004
"""Below it the machine's noise is larger."""

Repeat = Callable[[int], bytes]


def repeated(piece: bytes, start: bytes = b"", end: bytes = b"") -> Repeat:
    return lambda size: start + piece * (max(1, size - len(start) - len(end)) // len(piece)) + end


def plain(*pieces: bytes) -> list[Repeat]:
    return [repeated(piece) for piece in pieces]


ID, UID = b"ab" * 32, b"0b7c9a52-1111-4000-8000-000000000001"
ITEM = b'{"metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"containers": [{"name": "d"}]}}'
ITEMS = b'{"kind":"PodList","items":'
PIECES: Final[dict[str, list[Repeat]]] = {
    "cpu_stat_v1": plain(b"nr_periods 1\n", b"9", b"k 9\n", b"\n", b"a b c\n"),
    "cpu_stat_v2": plain(b"usage_usec 1\n", b"x x\n", b" ", b"\xff"),
    "cpu_stat_local": plain(b"throttled_usec 1\n", b"1" * 4000 + b" 2\n"),
    "cpuacct_stat": plain(b"user 1\n"),
    "number": [repeated(b"9", end=b"\n"), repeated(b" ", end=b"\n")],
    "cpu_max": [repeated(b"9", end=b" 1\n"), repeated(b"m ", end=b"\n")],
    "cfs_quota": [repeated(b"-", end=b"\n")],
    "cfs_period": [repeated(b"0", end=b"\n")],
    "pressure": plain(b"some total=1\n", b"total=1 ", b"some a=1 total=2\n"),
    "cpu_list": plain(b"1,", b"0-9,", b"-", b",", b"1-", b" "),
    "proc_stat": plain(b"cpu1 1 2 3 4\n", b"cpu ", b"cpu1 " + b"9" * 4000, b"cpu\n"),
    "path": [
        repeated(piece, end=end)
        for piece in (b"/", b"pod/", b"-pod", b"podpod", b"a-", b"pod" + UID + b"-")
        for end in (b"", b"pod" + UID, b"/" + ID)
    ]
    + [repeated(b"a-", b"pod" + UID + b"/", ID)],
    "release": plain(b"9", b"5.", b"5.4.0-"),
    "pod_list": [
        repeated(ITEM + b",", ITEMS + b"[", b"1]}"),
        repeated(b"[", ITEMS),
        repeated(b'{"a":', ITEMS + b"["),
        repeated(b" ", ITEMS + b"[]", b"}"),
        repeated(b"a", ITEMS + b'["', b'"]}'),
        repeated(b"a", ITEMS + b'["'),
        repeated(b"\\u00e9", ITEMS + b'["', b'"]}'),
        repeated(b"9", ITEMS + b"[1.", b"]}"),
        repeated(b"1,", ITEMS + b"[", b"1]}"),
        repeated(b'"a":1,', b'{"kind":"PodList",', b'"items":[]}'),
    ],
    "watch": plain(b'{"type":"ADDED","object":' + ITEM + b"}\n", b"\n"),
    "configz": [repeated(b"["), repeated(b'"a":"1s",', b'{"kubeletconfig":{', b'"b":1}}')],
    "annotations": plain(b"0", b".", b"a-", b"9", b"a-12345678"),
    "checkpoint": [
        repeated(b"["),
        # Wrong at its end: a list that was understood is remembered, and would take no time when asked for again.
        repeated(b"1,", b'{"policyName":"static","defaultCpuSet":"', b'x"}'),
        repeated(b'"a":{"b":"1"},', b'{"policyName":"static","entries":{', b'"c":{"d":"2"}}}'),
    ],
    "log_names": [
        repeated(piece, start)
        for piece in (b"a_b_c\n", b"_", b"a", b"-", b"a-", ID, b"p_n_c-" + ID + b".log /x_y_z/c/0.log\n")
        for start in (b"", b"\n\n")
    ],
    "quantity": plain(b"9", b".", b"1e"),
    "duration": plain(b"1s", b"9", b"1y"),
    "option": plain(
        *(b":", b"a.", b"/a", b"[", b"kubelet,", b"file:a,", b"$(", b"$(A)", b"https://", b"a", b"1:", b"%41")
    ),
    "config_file": plain(b"a: b\n", b"- ", b"{a: ", b"&a [*a]\n", b"a:\n ", b"'", b"#"),
    "web_config": plain(b"[", b"a: b\n", b"? ", b"{a: ", b"!!x ", b"a,", b"\t"),
}


def seconds(target: str, data: bytes) -> float:
    """CPU time, the best of two: another process on this CPU costs wall time only."""
    best = float("inf")
    for _ in range(2):
        began = time.process_time()
        TARGETS[target](data)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("target", TARGETS)
def test_time_grows_with_length_and_not_with_its_square(target: str) -> None:
    most = BYTES.get(target, KERNEL_BYTES)
    for make in PIECES[target]:
        small, large = make(most // FACTOR), make(most)
        before = max(seconds(target, small), FLOOR_SECONDS)
        after = seconds(target, large)
        assert after <= MOST_GROWTH * before, (large[:80], before, after)
        assert after <= MOST_SECONDS, large[:80]
