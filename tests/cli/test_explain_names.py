"""Which container is meant, and what is said when none is."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cli.selection import NotHereError, select
from exporter.errors import ConfigError
from exporter.report.schema import Container
from exporter.report.summary import full_name


def container(namespace: str, pod: str, name: str) -> Container:
    workload = pod.partition("-")[0]
    names = {"namespace": namespace, "pod": pod, "container": name, "workload": workload}
    return cast("Container", names | {"workload_kind": "StatefulSet" if workload == "db" else "Deployment"})


SOME = [
    container("shop", "web-7d9f8b6c5d-x2k9p", "app"),
    container("shop", "web-7d9f8b6c5d-x2k9p", "sidecar"),
    container("shop", "db-0", "postgres"),
    container("data", "db-0", "postgres"),
    container("", "5c3e1b09-7a1d-4c52", "9d56b9ff2359"),
    container("shop", "vm-0", ""),  # in a sandbox
]


WEB = ["shop/web-7d9f8b6c5d-x2k9p/app", "shop/web-7d9f8b6c5d-x2k9p/sidecar"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (WEB[0], WEB[:1]),
        *((text, WEB) for text in ("shop/web-7d9f8b6c5d-x2k9p", "web-7d9f8b6c5d-x2k9p", "pod/web-7d9f8b6c5d-x2k9p")),
        # As "kubectl get -o name" prints them; the only one that contains it.
        *((text, WEB) for text in ("shop/deploy/web", "Deployment/web", "deployment.apps/web", "shop/web", "web")),
        ("data/db-0", ["data/db-0/postgres"]),
        ("5c3e1b09-7a1d-4c52", ["5c3e1b09-7a1d-4c52/9d56b9ff2359"]),
        ("/5c3e1b09-7a1d-4c52/9d56b9ff2359", ["5c3e1b09-7a1d-4c52/9d56b9ff2359"]),
        ("data/sts/db", ["data/db-0/postgres"]),
        ("data/statefulset.apps/db", ["data/db-0/postgres"]),
        ("data/pod/db-0", ["data/db-0/postgres"]),
        ("shop/db-0/postgre", ["shop/db-0/postgres"]),
        ("shop/vm-0", ["shop/vm-0"]),
        ("shop/vm-0/app", ["shop/vm-0"]),
    ],
)
def test_what_is_meant(text: str, names: list[str]) -> None:
    assert [full_name(one) for one in select(SOME, text)] == names
    assert select(SOME, "db-0", namespace="data") == select(SOME, "data/db-0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("db-0", "db-0 is in 2 namespaces: data/db-0, shop/db-0"),
        ("sts/db", "sts/db is in 2 namespaces: data/db-0, shop/db-0"),
        ("shop/deploy/none", "no container of this node is shop/deploy/none"),
        ("shpo/web", "no container of this node is shpo/web; near it: shop/web-7d9f8b6c5d-x2k9p"),
        ("wbe-7d9f", "no container of this node is wbe-7d9f; near it: shop/web-7d9f8b6c5d-x2k9p"),
        ("other/db-0", "no container of this node is other/db-0; near it: data/db-0, shop/db-0"),
        ("zzzzzz", "no container of this node is zzzzzz"),
        ("a/b/c/d", "must be NAMESPACE/POD[/CONTAINER], POD or [NAMESPACE/]KIND/NAME, not 'a/b/c/d'"),
        ("shop/", "must be NAMESPACE/POD[/CONTAINER], POD or [NAMESPACE/]KIND/NAME, not 'shop/'"),
        ("", "must be NAMESPACE/POD[/CONTAINER], POD or [NAMESPACE/]KIND/NAME, not ''"),
    ],
)
def test_what_is_said_when_nothing_or_too_much_is_meant(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        select(SOME, text)

    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "namespace", "first", "asked"),
    [
        ("shop/api-0", "", "kubectl -n shop get pods api-0 -o wide", "shop/api-0"),
        ("api-0", "shop", "kubectl -n shop get pods api-0 -o wide", "-n shop api-0"),
        ("shop/deploy/api", "", "kubectl -n shop get pods -o wide", "shop/deploy/api"),
        ("shop/$(x)/c", "", "kubectl -n shop get pods '$(x)' -o wide", "'shop/$(x)/c'"),
    ],
)
def test_two_commands_or_one_find_a_pod_of_another_node(text: str, namespace: str, first: str, asked: str) -> None:
    with pytest.raises(NotHereError, match=r"no container of this node \(node-7\) is ") as raised:
        select([], text, namespace=namespace, node="node-7")

    assert raised.value.hints[0] == first
    assert "app.kubernetes.io/name=kube-throttle-exporter" in raised.value.hints[1]
    assert raised.value.hints[2].startswith(f"kubectl throttle explain {asked}   #")


@given(st.text(max_size=300))
def test_any_word_is_answered_in_one_line(text: str) -> None:
    said, hints = "", [""]
    try:
        assert select(SOME, text)
    except ConfigError as error:
        said, hints = str(error), list(getattr(error, "hints", ()))
    assert all(line.isprintable() for line in (said, *hints))
    assert len(said) < 1000
