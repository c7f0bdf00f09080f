"""One row a name, whatever cgroups there are and whatever a pod list claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.identities import ContainerIdentity, PodIdentity, PodSpec
from exporter.sampler.mapping import newest_by_name
from exporter.sampler.tracked import TrackedCgroup
from tests.sampler.population import NOW, SMALLEST, cgroup, directory, pod, running, states
from tests.support.treebuilder import container_id


def gone(one: TrackedCgroup) -> TrackedCgroup:
    one.retire(NOW)
    return one


@pytest.mark.parametrize(
    ("made", "removed", "shown"),
    [
        ("first second", "", "second"),
        ("first", "first", "first"),
        ("first second", "first", "second"),
        ("first second", "second", "first"),
        ("first second", "first second", "second"),
    ],
)
def test_of_instances_of_a_container_the_newest_is_shown_but_one_that_runs_before_one_that_is_gone(
    made: str, removed: str, shown: str
) -> None:
    instances = {name: cgroup("uid-1", name) for name in made.split()}
    known = directory(pod("uid-1", "web", running("app", now="third", before=("first", "second"))))
    states(instances.values(), known)
    for name in removed.split():
        instances[name].retire(NOW)
    for order in (list(instances.values()), list(reversed(instances.values()))):
        assert newest_by_name(order) == {("shop", "web", "app"): instances[shown]}


# ---- any population ----

few_names = st.sampled_from("abc")
uids = st.sampled_from(("uid-1", "uid-2", "uid-3"))
containers = st.builds(
    lambda name, now, before: ContainerIdentity(
        now and container_id(now),
        name,
        "container",
        "",
        True,
        None,
        previous_container_ids=tuple(map(container_id, before)),
    ),
    few_names,
    st.sampled_from(("", "x", "y", "z", "pause")),
    st.lists(st.sampled_from("xyz"), max_size=2),
)
pods = st.builds(
    lambda uid, name, found: PodIdentity(uid, "shop", name, PodSpec("Burstable"), "Pod", name, containers=tuple(found)),
    uids,
    few_names,
    st.lists(containers, max_size=3),
)
Drawn = tuple[str, str | None, str, bool, int, bool]
cgroups = st.tuples(
    uids,
    st.sampled_from((None, "x", "y", "z", "pause")),
    st.sampled_from(("kubepods", "docker/a/kubepods")),
    st.booleans(),
    st.integers(1, 4),
    st.booleans(),
)


def built(drawn: Drawn) -> TrackedCgroup:
    uid, name, prefix, is_gone, inode, smallest = drawn
    one = cgroup(uid, name, prefix=prefix, inode=inode)
    if smallest:
        one.limits = SMALLEST
    return gone(one) if is_gone else one


@given(
    drawn=st.lists(cgroups, max_size=8),
    lists=st.lists(st.lists(pods, max_size=4), min_size=1, max_size=3),
    expects_names=st.booleans(),
)
def test_no_name_is_ever_shown_twice_and_none_is_lost(
    drawn: list[Drawn], lists: list[list[PodIdentity]], expects_names: bool
) -> None:
    population = [built(one) for one in drawn]
    for attempt, found in enumerate(lists):
        states(population, directory(*found), attempts=attempt, waited=5.0 * attempt, expects_names=expects_names)
        chosen = newest_by_name(population)
        claims = [(name, one) for one in population if (name := one.name) is not None]
        assert set(chosen) == {name for name, _ in claims}
        for name, one in claims:
            best = chosen[name]
            assert (best.live, best.has_containers, best.inode) >= (one.live, one.has_containers, one.inode)


@given(st.lists(cgroups, max_size=8), st.lists(pods, max_size=4))
def test_names_do_not_depend_on_the_order_in_which_cgroups_are_met(
    drawn: list[Drawn], found: list[PodIdentity]
) -> None:
    # Inodes differ on one hierarchy.
    distinct = [(*one[:4], number, one[5]) for number, one in enumerate(drawn)]
    forwards, backwards = [built(one) for one in distinct], [built(one) for one in reversed(distinct)]
    for population in (forwards, backwards):
        states(population, directory(*found), attempts=9)
    assert [(one.state, one.name) for one in forwards] == [(one.state, one.name) for one in reversed(backwards)]
