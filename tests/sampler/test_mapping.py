"""Which pod and container a cgroup is, and what is shown while nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.identities import PodList
from exporter.model import CpuLimits
from exporter.sampler.mapping import ATTEMPTS, DEADLINE_SECONDS, PodIndex
from exporter.sampler.tracked import SHORT_ID
from tests.sampler.population import SMALLEST, cgroup, directory, pod, running, states
from tests.support.treebuilder import container_id

NOBODY = PodIndex()


# ---- known ----


def test_container_has_the_name_of_whoever_claims_its_id() -> None:
    web = cgroup("uid-1", "app")
    assert states([web], directory(pod("uid-1", "web", running("app")))) == ["mapped"]
    assert web.name == ("shop", "web", "app")


def test_pod_has_the_name_of_its_uid() -> None:
    web = cgroup("uid-1")
    assert states([web], directory(pod("uid-1", "web"))) == ["mapped"]
    assert web.name == ("shop", "web", None)


def test_pod_of_another_uid_is_known_by_its_containers() -> None:
    # The API server's mirror of a static pod has a uid of its own.
    own, app = cgroup("hash"), cgroup("hash", "app")
    assert states([own, app], directory(pod("mirror", "etcd-node-1", running("app")))) == ["mapped", "mapped"]
    assert [own.name, app.name] == [("shop", "etcd-node-1", None), ("shop", "etcd-node-1", "app")]


def test_instance_before_the_running_one_has_the_container_s_name_too() -> None:
    old, new = cgroup("uid-1", "first"), cgroup("uid-1", "second")
    known = directory(pod("uid-1", "web", running("app", now="second", before=("first",))))
    assert states([old, new], known) == ["mapped", "mapped"]
    assert old.name == new.name == ("shop", "web", "app")


def test_of_two_pods_that_claim_one_id_the_path_s_own_holds() -> None:
    one, other = pod("uid-1", "web", running("app")), pod("uid-2", "liar", running("app"))
    for known in (directory(one, other), directory(other, one)):
        web = cgroup("uid-1", "app")
        assert states([web], known) == ["mapped"]
        assert web.name == ("shop", "web", "app")


def test_an_id_that_two_strangers_claim_is_nobody_s() -> None:
    web = cgroup("uid-3", "app")
    known = directory(pod("uid-1", "web", running("app")), pod("uid-2", "liar", running("app")))
    assert states([web], known) == ["pending"]
    assert states([web], known, waited=DEADLINE_SECONDS) == ["unmapped"]


def test_container_without_an_id_yet_claims_nothing() -> None:
    waiting = replace(running("app"), container_id="")
    web = cgroup("uid-1", "app")
    assert states([web], directory(pod("uid-1", "web", waiting))) == ["pending"]


def test_two_pods_of_one_uid_are_told_apart_by_their_containers() -> None:
    # Two kind nodes on one host run the same static pod; each kubelet lists its own.
    one, other = cgroup("hash", "proxy-1", prefix="docker/a"), cgroup("hash", "proxy-2", prefix="docker/b")
    known = directory(pod("hash", "kube-proxy-a", running("proxy", now="proxy-1")))
    assert states([one, other], known, waited=DEADLINE_SECONDS) == ["mapped", "unmapped"]
    assert one.name != other.name


def test_index_holds_every_id_once() -> None:
    known = PodIndex.of(
        PodList(
            {
                "uid-1": pod("uid-1", "web", running("app", before=("older",)), running("sidecar")),
                "uid-2": pod("uid-2", "api", running("sidecar")),
            }
        )
    )
    assert set(known.by_container) == {container_id("app"), container_id("older")}


# ---- waiting ----


def test_unknown_container_is_held_back_for_two_refreshes() -> None:
    new = cgroup("uid-9", "app", attempts=5)
    assert states([new], NOBODY, attempts=5) == ["pending"]
    assert new.name is None
    assert states([new], NOBODY, attempts=5 + ATTEMPTS - 1) == ["pending"]
    assert states([new], NOBODY, attempts=5 + ATTEMPTS) == ["unmapped"]
    assert new.name == ("", "uid-9", container_id("app")[:SHORT_ID])


def test_unknown_container_is_held_back_no_longer_than_a_silent_kubelet_is_worth() -> None:
    new = cgroup("uid-9", "app")
    assert states([new], NOBODY, waited=DEADLINE_SECONDS - 0.1) == ["pending"]
    assert states([new], NOBODY, waited=DEADLINE_SECONDS) == ["unmapped"]


def test_with_no_source_of_names_nothing_waits() -> None:
    own, new = cgroup("uid-9"), cgroup("uid-9", "app")
    assert states([own, new], NOBODY, expects_names=False) == ["unmapped", "unmapped"]
    assert own.name == ("", "uid-9", None)


def test_a_name_that_comes_late_is_taken() -> None:
    new = cgroup("uid-1", "app")
    assert states([new], NOBODY, attempts=ATTEMPTS) == ["unmapped"]
    assert states([new], directory(pod("uid-1", "web", running("app"))), attempts=ATTEMPTS + 1) == ["mapped"]
    assert new.name == ("shop", "web", "app")


def test_what_was_shown_as_unknown_is_not_hidden_again() -> None:
    new = cgroup("uid-9", "app")
    states([new], NOBODY, expects_names=False)
    assert states([new], NOBODY) == ["unmapped"]


def test_pod_waits_like_a_container() -> None:
    own = cgroup("uid-9")
    assert states([own], NOBODY) == ["pending"]
    assert states([own], NOBODY, attempts=ATTEMPTS) == ["unmapped"]


# ---- names that outlive the list ----


def test_container_of_a_deleted_pod_keeps_its_name_while_its_counters_linger() -> None:
    own, app = cgroup("uid-1"), cgroup("uid-1", "app")
    states([own, app], directory(pod("uid-1", "web", running("app"))))
    for one in (own, app):
        one.retire(one.first_seen)
    assert states([own, app], NOBODY, attempts=5, waited=30) == ["mapped", "mapped"]
    assert [own.name, app.name] == [("shop", "web", None), ("shop", "web", "app")]


def test_instance_of_two_restarts_ago_keeps_its_name_while_its_counters_linger() -> None:
    first = cgroup("uid-1", "first")
    states([first], directory(pod("uid-1", "web", running("app", now="first"))))
    first.retire(first.first_seen)
    third = cgroup("uid-1", "third")
    known = directory(pod("uid-1", "web", running("app", now="third", before=("second",))))
    assert states([first, third], known, attempts=5, waited=30) == ["mapped", "mapped"]
    assert first.name == third.name == ("shop", "web", "app")


def test_container_that_a_later_list_forgets_keeps_its_name_while_it_runs() -> None:
    app = cgroup("uid-1", "app")
    states([app], directory(pod("uid-1", "web", running("app"))))
    assert states([app], directory(pod("uid-1", "web")), attempts=5, waited=30) == ["mapped"]
    assert app.name == ("shop", "web", "app")


# ---- the sandbox ----


def test_leaf_that_no_status_names_in_a_known_pod_is_the_sandbox() -> None:
    sandbox, app = cgroup("uid-1", "pause", limits=SMALLEST), cgroup("uid-1", "app")
    known = directory(pod("uid-1", "web", running("app")))
    assert states([sandbox, app], known, waited=DEADLINE_SECONDS, attempts=9) == ["sandbox", "mapped"]
    assert sandbox.name is None


@pytest.mark.parametrize("limits", [SMALLEST, CpuLimits("none", None, 0.1, weight=1)], ids=["v1", "v2"])
def test_sandbox_is_older_than_the_containers_that_look_like_it(limits: CpuLimits) -> None:
    sandbox, best_effort = cgroup("uid-1", "pause", limits=limits), cgroup("uid-1", "app", limits=limits)
    for order in ([sandbox, best_effort], [best_effort, sandbox]):
        assert set(states(order, directory(pod("uid-1", "web")))) == {"sandbox", "pending"}
        assert (sandbox.state, best_effort.state) == ("sandbox", "pending")


def test_sandbox_is_known_by_its_siblings_when_the_pod_is_not() -> None:
    sandbox, app = cgroup("uid-9", "pause", limits=SMALLEST), cgroup("uid-9", "app")
    assert states([sandbox, app], NOBODY, attempts=ATTEMPTS) == ["sandbox", "unmapped"]


def test_only_leaf_of_an_unknown_pod_is_a_container() -> None:
    only = cgroup("uid-9", "app", limits=SMALLEST)
    assert states([only], NOBODY) == ["pending"]
    assert states([only], NOBODY, attempts=ATTEMPTS) == ["unmapped"]


@pytest.mark.parametrize("limits", [CpuLimits("set", 0.5, 0.1, shares=2), CpuLimits("none", None, 0.1, shares=512)])
def test_container_with_a_quota_or_with_shares_is_no_sandbox(limits: CpuLimits) -> None:
    app = cgroup("uid-1", "app", limits=limits)
    assert states([app], directory(pod("uid-1", "web")), attempts=ATTEMPTS) == ["unmapped"]


def test_leaf_whose_limits_cannot_be_read_is_no_sandbox() -> None:
    app = cgroup("uid-1", "app")
    app.limits = None
    assert states([app], directory(pod("uid-1", "web")), attempts=ATTEMPTS) == ["unmapped"]


def test_sandbox_that_the_list_names_after_all_is_a_container() -> None:
    app = cgroup("uid-1", "app", limits=SMALLEST)
    states([app], directory(pod("uid-1", "web")), attempts=ATTEMPTS)
    assert states([app], directory(pod("uid-1", "web", running("app"))), attempts=ATTEMPTS) == ["mapped"]


def test_sandbox_made_anew_is_not_shown_while_the_old_one_lingers() -> None:
    old, app = cgroup("uid-1", "pause", limits=SMALLEST), cgroup("uid-1", "app")
    known = directory(pod("uid-1", "web", running("app")))
    states([old, app], known)
    old.retire(old.first_seen)
    new = cgroup("uid-1", "pause again", limits=SMALLEST)
    assert states([old, app, new], known, attempts=ATTEMPTS) == ["sandbox", "mapped", "sandbox"]


def test_a_new_container_that_asks_for_no_cpu_waits_for_its_name_where_there_is_no_sandbox() -> None:
    # CRI-O makes no infra container unless told to. The status lags: the list has not the new instance's id yet.
    new = cgroup("uid-1", "second", limits=SMALLEST)
    known = directory(pod("uid-1", "web", running("app", now="first")))
    assert states([new], known) == ["pending"]
