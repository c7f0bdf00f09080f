"""Which pod and container a cgroup is, and what is shown while nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.model import CpuLimits
from exporter.sampler.mapping import ATTEMPTS, DEADLINE_SECONDS, PodIndex
from exporter.sampler.tracked import SHORT_ID, MappingState, TrackedCgroup
from tests.sampler.population import SMALLEST, cgroup, directory, pod, running, states
from tests.support.treebuilder import container_id

NOBODY = PodIndex()
WEB = directory(pod("uid-1", "web", running("app")))
RESTARTED = directory(pod("uid-1", "web", running("app", now="second", before=("first",))))
BARE = directory(pod("uid-1", "web"))
"""A pod whose status names no container."""
SMALL_V2 = CpuLimits("none", None, 0.1, weight=1)
NO_ID = directory(pod("uid-1", "web", replace(running("app"), container_id="")))
STRANGERS = pod("uid-1", "web", running("app")), pod("uid-2", "liar", running("app"))
TWO_KIND_NODES = directory(pod("hash", "kube-proxy-a", running("proxy", now="proxy-1")))
KIND_CGROUPS = [cgroup("hash", "proxy-1", prefix="docker/a"), cgroup("hash", "proxy-2", prefix="docker/b")]
LATE: dict[str, Any] = {"waited": DEADLINE_SECONDS}
ASKED: dict[str, Any] = {"attempts": ATTEMPTS}


def small(name: str, limits: CpuLimits = SMALLEST, uid: str = "uid-1") -> TrackedCgroup:
    return cgroup(uid, name, limits=limits)


def unread(name: str) -> TrackedCgroup:
    """A container whose limits could not be read."""
    one = cgroup("uid-1", name)
    one.limits = None
    return one


@pytest.mark.parametrize(
    ("cgroups", "known", "options", "expected"),
    [
        # Who claims its id, or whose uid its path has.
        ([cgroup("uid-1", "app")], WEB, {}, "mapped web/app"),
        ([cgroup("uid-1")], BARE, {}, "mapped web"),
        ([cgroup("uid-1", "first"), cgroup("uid-1", "second")], RESTARTED, {}, "mapped web/app, mapped web/app"),
        # The API server's mirror of a static pod has a uid of its own.
        (
            [cgroup("hash"), cgroup("hash", "app")],
            directory(pod("mirror", "etcd-1", running("app"))),
            {},
            "mapped etcd-1, mapped etcd-1/app",
        ),
        # Of two pods that claim one id the path's own holds; an id that two strangers claim is nobody's.
        ([cgroup("uid-1", "app")], directory(*STRANGERS), {}, "mapped web/app"),
        ([cgroup("uid-1", "app")], directory(*reversed(STRANGERS)), {}, "mapped web/app"),
        ([cgroup("uid-3", "app")], directory(*STRANGERS), {}, "pending"),
        ([cgroup("uid-3", "app")], directory(*STRANGERS), LATE, "unmapped app"),
        # Without an id yet it claims nothing.
        ([cgroup("uid-1", "app")], NO_ID, {}, "pending"),
        # Two kind nodes on one host run the same static pod; each kubelet lists its own.
        (KIND_CGROUPS, TWO_KIND_NODES, LATE, "mapped kube-proxy-a/proxy, unmapped proxy-2"),
        # Nobody knows it: held back for two refreshes, or for as long as a silent kubelet is worth.
        ([cgroup("uid-9", "app", attempts=5)], NOBODY, {"attempts": 5}, "pending"),
        ([cgroup("uid-9", "app", attempts=5)], NOBODY, {"attempts": 5 + ATTEMPTS - 1}, "pending"),
        ([cgroup("uid-9", "app", attempts=5)], NOBODY, {"attempts": 5 + ATTEMPTS}, "unmapped app"),
        ([cgroup("uid-9", "app")], NOBODY, {"waited": DEADLINE_SECONDS - 0.1}, "pending"),
        ([cgroup("uid-9", "app")], NOBODY, LATE, "unmapped app"),
        ([cgroup("uid-9")], NOBODY, {}, "pending"),
        ([cgroup("uid-9")], NOBODY, ASKED, "unmapped"),
        ([cgroup("uid-9"), cgroup("uid-9", "app")], NOBODY, {"expects_names": False}, "unmapped, unmapped app"),
        # The sandbox: the leaf that no status names, older than containers that look like it.
        ([small("pause"), cgroup("uid-1", "app")], WEB, {}, "sandbox, mapped web/app"),
        ([small("pause"), cgroup("uid-1", "app")], WEB, {**LATE, "attempts": 9}, "sandbox, mapped web/app"),
        ([small("pause"), small("app")], BARE, {}, "sandbox, pending"),
        ([small("pause", SMALL_V2), small("app", SMALL_V2)], BARE, {}, "sandbox, pending"),
        ([small("pause"), small("app")][::-1], BARE, {}, "pending, sandbox"),
        ([small("a"), small("app"), small("proxy-2")], BARE, ASKED, "sandbox, unmapped app, unmapped proxy-2"),
        ([small("pause", uid="uid-9"), cgroup("uid-9", "app")], NOBODY, ASKED, "sandbox, unmapped app"),
        # The only leaf of an unknown pod is a container.
        ([small("app", uid="uid-9")], NOBODY, {}, "pending"),
        ([small("app", uid="uid-9")], NOBODY, ASKED, "unmapped app"),
        # A container with a quota, with shares, or with limits that could not be read is no sandbox.
        ([small("app", CpuLimits("set", 0.5, 0.1, shares=2))], BARE, ASKED, "unmapped app"),
        ([small("app", CpuLimits("none", None, 0.1, shares=512))], BARE, ASKED, "unmapped app"),
        ([unread("app")], BARE, ASKED, "unmapped app"),
        # CRI-O makes no sandbox unless told to; a status that lags has not the new instance's id yet.
        ([small("second")], directory(pod("uid-1", "web", running("app", now="first"))), {}, "pending"),
    ],
)
def test_what_a_cgroup_is(
    cgroups: list[TrackedCgroup], known: PodIndex, options: dict[str, Any], expected: str
) -> None:
    assert said(cgroups, states(cgroups, known, **options)) == expected


def said(cgroups: list[TrackedCgroup], found: list[MappingState]) -> str:
    """State and name of each; of an unmapped container the word that its id is made from."""
    ids = {container_id(word)[:SHORT_ID]: word for word in ("app", "proxy-2")}
    texts = []
    for one, state in zip(cgroups, found, strict=True):
        namespace, name, container = one.name or ("", "", None)
        assert one.name is None or namespace == ("" if state == "unmapped" else "shop")
        parts = (ids[container] if container else "",) if state == "unmapped" else (name, container)
        texts.append(f"{state} {'/'.join(filter(None, parts))}".strip())
    return ", ".join(texts)


@pytest.mark.parametrize("limits", [SMALLEST, CpuLimits("set", 0.5, 0.1)])
def test_a_name_that_comes_late_is_taken_by_a_container_and_a_supposed_sandbox(limits: CpuLimits) -> None:
    new = cgroup("uid-1", "app", limits=limits)
    assert states([new], BARE, attempts=ATTEMPTS) == ["sandbox" if limits is SMALLEST else "unmapped"]
    assert states([new], WEB, attempts=ATTEMPTS + 1) == ["mapped"]
    assert new.name == ("shop", "web", "app")


def test_what_was_shown_as_unknown_is_not_hidden_again() -> None:
    new = cgroup("uid-9", "app")
    states([new], NOBODY, expects_names=False)
    assert states([new], NOBODY) == ["unmapped"]


@pytest.mark.parametrize("later", [NOBODY, BARE])
@pytest.mark.parametrize("is_gone", [False, True])
def test_a_name_stays_while_the_container_runs_or_lingers(later: PodIndex, is_gone: bool) -> None:
    own, app = cgroup("uid-1"), cgroup("uid-1", "app")
    states([own, app], WEB)
    for one in (own, app) if is_gone else ():
        one.retire(one.first_seen)
    assert states([own, app], later, attempts=5, waited=30) == ["mapped", "mapped"]
    assert [own.name, app.name] == [("shop", "web", None), ("shop", "web", "app")]


def test_instance_of_two_restarts_ago_keeps_its_name_while_its_counters_linger() -> None:
    first = cgroup("uid-1", "first")
    states([first], directory(pod("uid-1", "web", running("app", now="first"))))
    first.retire(first.first_seen)
    third = cgroup("uid-1", "third")
    known = directory(pod("uid-1", "web", running("app", now="third", before=("second",))))
    assert states([first, third], known, attempts=5, waited=30) == ["mapped", "mapped"]
    assert first.name == third.name == ("shop", "web", "app")


def test_sandbox_made_anew_is_not_shown_while_the_old_one_lingers() -> None:
    old, app = small("pause"), cgroup("uid-1", "app")
    states([old, app], WEB)
    old.retire(old.first_seen)
    assert states([old, app, small("pause again")], WEB, attempts=ATTEMPTS) == ["sandbox", "mapped", "sandbox"]
