"""No input costs more than its length: four times as much of it, not sixteen times the time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.fuzz.targets import TARGETS

KERNEL_BYTES: Final = 64 * 1024
"""What a reader takes of a kernel file at most."""
BODY_BYTES: Final = 256 * 1024
YAML_BYTES: Final = 4 * 1024
"""A config file is its user's own. PyYAML needs half a second for brackets nested as deep as Python's stack allows."""
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


ID, UID = "ab" * 32, "0b7c9a52-1111-4000-8000-000000000001"
ITEM = json.dumps({"metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"containers": [{"name": "d"}]}})
PIECES: Final[dict[str, list[tuple[int, Repeat]]]] = {
    "cpu_stat_v1": [
        (KERNEL_BYTES, repeated(piece)) for piece in (b"nr_periods 1\n", b"9", b"k 9\n", b"\n", b"a b c\n")
    ],
    "cpu_stat_v2": [(KERNEL_BYTES, repeated(piece)) for piece in (b"usage_usec 1\n", b"x x\n", b" ", b"\xff")],
    "cpu_stat_local": [(KERNEL_BYTES, repeated(piece)) for piece in (b"throttled_usec 1\n", b"1" * 4000 + b" 2\n")],
    "cpuacct_stat": [(KERNEL_BYTES, repeated(b"user 1\n"))],
    "number": [(KERNEL_BYTES, repeated(b"9", end=b"\n")), (KERNEL_BYTES, repeated(b" ", end=b"\n"))],
    "cpu_max": [(KERNEL_BYTES, repeated(b"9", end=b" 1\n")), (KERNEL_BYTES, repeated(b"m ", end=b"\n"))],
    "cfs_quota": [(KERNEL_BYTES, repeated(b"-", end=b"\n"))],
    "cfs_period": [(KERNEL_BYTES, repeated(b"0", end=b"\n"))],
    "pressure": [(KERNEL_BYTES, repeated(piece)) for piece in (b"some total=1\n", b"total=1 ", b"some a=1 total=2\n")],
    "cpu_list": [(KERNEL_BYTES, repeated(piece)) for piece in (b"1,", b"0-9,", b"-", b",", b"1-", b" ")],
    "proc_stat": [
        (KERNEL_BYTES, repeated(piece)) for piece in (b"cpu1 1 2 3 4\n", b"cpu ", b"cpu1 " + b"9" * 4000, b"cpu\n")
    ],
    "path": [
        (KERNEL_BYTES, repeated(piece, end=end))
        for piece in (b"/", b"pod/", b"-pod", b"podpod", b"a-", b"pod" + UID.encode() + b"-")
        for end in (b"", b"pod" + UID.encode(), b"/" + ID.encode())
    ]
    + [(KERNEL_BYTES, repeated(b"a-", start=f"pod{UID}/".encode(), end=ID.encode()))],
    "release": [(KERNEL_BYTES, repeated(piece)) for piece in (b"9", b"5.", b"5.4.0-")],
    "pod_list": [
        (BODY_BYTES, repeated(f"{ITEM},".encode(), b'{"kind":"PodList","items":[', b"1]}")),
        (BODY_BYTES, repeated(b"[", b'{"kind":"PodList","items":')),
        (BODY_BYTES, repeated(b'{"a":', b'{"kind":"PodList","items":[')),
        (BODY_BYTES, repeated(b" ", b'{"kind":"PodList","items":[]', b"}")),
        (BODY_BYTES, repeated(b"a", b'{"kind":"PodList","items":["', b'"]}')),
        (BODY_BYTES, repeated(b"a", b'{"kind":"PodList","items":["')),
        (BODY_BYTES, repeated(b"\\u00e9", b'{"kind":"PodList","items":["', b'"]}')),
        (BODY_BYTES, repeated(b"9", b'{"kind":"PodList","items":[1.', b"]}")),
        (BODY_BYTES, repeated(b"1,", b'{"kind":"PodList","items":[', b"1]}")),
        (BODY_BYTES, repeated(b'"a":1,', b'{"kind":"PodList",', b'"items":[]}')),
    ],
    "watch": [
        (BODY_BYTES // 8, repeated(f'{{"type":"ADDED","object":{ITEM}}}\n'.encode())),
        (BODY_BYTES // 8, repeated(b"\n")),
    ],
    "configz": [(BODY_BYTES, repeated(b"[")), (BODY_BYTES, repeated(b'"a":"1s",', b'{"kubeletconfig":{', b'"b":1}}'))],
    "annotations": [(BODY_BYTES, repeated(piece)) for piece in (b"0", b".", b"a-", b"9", b"a-12345678")],
    "checkpoint": [
        (BODY_BYTES, repeated(b"[")),
        # Wrong at its end: a list that was understood is remembered, and would take no time when asked for again.
        (KERNEL_BYTES, repeated(b"1,", b'{"policyName":"static","defaultCpuSet":"', b'x"}')),
        (BODY_BYTES, repeated(b'"a":{"b":"1"},', b'{"policyName":"static","entries":{', b'"c":{"d":"2"}}}')),
    ],
    "log_names": [
        (BODY_BYTES, repeated(piece, start))
        for piece in (b"a_b_c\n", b"_", b"a", b"-", b"a-", ID.encode(), f"p_n_c-{ID}.log /x_y_z/c/0.log\n".encode())
        for start in (b"", b"\n\n")
    ],
    "quantity": [(KERNEL_BYTES, repeated(piece)) for piece in (b"9", b".", b"1e")],
    "duration": [(KERNEL_BYTES, repeated(piece)) for piece in (b"1s", b"9", b"1y")],
    "option": [
        (KERNEL_BYTES, repeated(piece))
        for piece in (
            b":",
            b"a.",
            b"/a",
            b"[",
            b"kubelet,",
            b"file:a,",
            b"$(",
            b"$(A)",
            b"https://",
            b"a",
            b"1:",
            b"%41",
        )
    ],
    "config_file": [
        (YAML_BYTES, repeated(piece)) for piece in (b"a: b\n", b"- ", b"{a: ", b"&a [*a]\n", b"a:\n ", b"'", b"#")
    ],
    "web_config": [(YAML_BYTES, repeated(piece)) for piece in (b"[", b"a: b\n", b"? ", b"{a: ", b"!!x ", b"a,", b"\t")],
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
    for most, make in PIECES[target]:
        small, large = make(most // FACTOR), make(most)
        before = max(seconds(target, small), FLOOR_SECONDS)
        after = seconds(target, large)
        assert after <= MOST_GROWTH * before, (large[:80], before, after)
        assert after <= MOST_SECONDS, large[:80]
