"""Who owns which CPU, by cpusets alone."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.isolation import MAX_OVERLAPS, CpusetUser, Isolation, Pair, claim_of, isolate
from exporter.cpulist import cpu_list
from exporter.identities import ContainerIdentity, ContainerSpec, ContainerType, PodIdentity, PodSpec, QosClass
from exporter.model import CgroupName, CgroupRef, CpuLimits
from exporter.node.cpumanager import read_cpu_manager_state
from tests.sampler.rig import Rig
from tests.support.recordings import RECORDINGS, Recording

RECONCILE = 10.0
CPUS = cpu_list("0-7", "")


def name(text: str) -> CgroupName:
    return CgroupName("default", text, "app")


def user(
    text: str,
    cpus: str,
    whole: int | None = None,
    *,
    pod: str = "",
    container_type: ContainerType | None = "container",
) -> CpusetUser:
    return CpusetUser(name(text), pod or f"kubepods/pod{text}", cpu_list(cpus, ""), whole, container_type)


def judge(
    *users: CpusetUser, online: str | None = "0-7", memory: Mapping[Pair, float] | None = None, now: float = 0.0
) -> Isolation:
    return isolate(users, None if online is None else cpu_list(online, ""), memory or {}, now, RECONCILE)


def after(*users: CpusetUser, seconds: float, online: str = "0-7") -> Isolation:
    """The verdict when ``users`` have been like this for ``seconds``."""
    first = judge(*users, online=online)
    return judge(*users, online=online, memory=first.memory, now=seconds)


POOL = (user("a", "0-1,4-7"), user("b", "0-1,4-7"))
PINNED = user("pinned", "2-3", 2)


@pytest.mark.parametrize("is_known", [True, False], ids=["asked for two CPUs", "no spec, but apart from the pool"])
def test_a_container_apart_from_all_others_owns_its_cpus(is_known: bool) -> None:
    found = judge(PINNED if is_known else unknown("pinned", "2-3"), *POOL)
    assert found.states == {name("pinned"): "exclusive", name("a"): "shared", name("b"): "shared"}
    assert found.exclusive == {name("pinned"): True, name("a"): False, name("b"): False}
    assert found.owners == {2: name("pinned"), 3: name("pinned")}
    assert found.shared == cpu_list("0-1,4-7", "")
    assert found.overlaps == ()
    assert (found.memory == {}) == is_known


@pytest.mark.parametrize(
    ("users", "online", "states"),
    [
        pytest.param([user("one", "0-7", 8)], "0-7", {"one": "eligible"}, id="the only container of a node"),
        pytest.param([PINNED], None, {"pinned": "eligible"}, id="the only one, online CPUs not known"),
        pytest.param([PINNED, *POOL], None, {"pinned": "exclusive", "a": "shared", "b": "shared"},
                     id="online CPUs not known"),
        pytest.param([PINNED, user("late", "0-1,4-7", 2)], "0-7", {"pinned": "exclusive", "late": "eligible"},
                     id="alone in the shared pool"),
        pytest.param([user("own", "2-3"), *POOL], "0-7", {"own": "shared", "a": "shared", "b": "shared"},
                     id="apart without a claim to whole CPUs"),
        pytest.param([user("late", "0-1", 2), user("a", "0-1"), user("b", "0-1"), user("c", "2-3", 2)], "0-3",
                     {"late": "eligible", "a": "shared", "b": "shared", "c": "exclusive"},
                     id="a pool as small as its request"),
        pytest.param([user("empty", "", 2), *POOL], "0-7", {"empty": "shared", "a": "shared", "b": "shared"},
                     id="no CPUs"),
    ],
)  # fmt: skip
def test_who_is_given_cpus(users: list[CpusetUser], online: str | None, states: dict[str, str]) -> None:
    found = judge(*users, online=online)
    assert found.states == {name(one): state for one, state in states.items()}
    assert found.exclusive == {name(one): state == "exclusive" for one, state in states.items()}
    assert (found.shared is None, found.memory) == (online is None, {})


def test_a_young_overlap_takes_nothing_away() -> None:
    intruder = user("a", "0-7")
    found = after(PINNED, intruder, seconds=RECONCILE)
    assert found.exclusive[PINNED.name]
    assert found.overlaps == ()
    assert found.memory == {(PINNED.name, intruder.name): 0.0}


def test_an_overlap_older_than_the_reconcile_period_does() -> None:
    intruder = user("a", "0-2,4-7")
    found = after(PINNED, intruder, *POOL[1:], seconds=RECONCILE + 1)
    assert not found.exclusive[PINNED.name]
    assert found.states[PINNED.name] == "exclusive"
    [overlap] = found.overlaps
    assert overlap == (PINNED.name, intruder.name, frozenset({2}), RECONCILE + 1)
    # The CPU nobody else may use is still its own.
    assert found.owners == {3: PINNED.name}
    assert found.shared == cpu_list("0-2,4-7", "")


def test_an_overlap_that_ended_is_forgotten() -> None:
    first = judge(PINNED, user("a", "0-7"))
    then = judge(PINNED, *POOL, memory=first.memory, now=5.0)
    assert then.memory == {}
    again = judge(PINNED, user("a", "0-7"), memory=then.memory, now=RECONCILE + 1)
    assert again.overlaps == ()


def test_two_owners_of_one_cpu_are_each_other_s_overlap() -> None:
    found = after(user("one", "2-3", 2), user("two", "3-4", 2), seconds=RECONCILE + 1)
    assert {(overlap.owner, overlap.other) for overlap in found.overlaps} == {
        (name("one"), name("two")),
        (name("two"), name("one")),
    }
    assert found.owners == {2: name("one"), 4: name("two")}


@pytest.mark.parametrize("container_type", ["init", None])
def test_an_init_container_s_cpus_are_handed_on_within_its_pod(container_type: ContainerType | None) -> None:
    init = user("init", "2-3", 2, pod="kubepods/podx", container_type=container_type)
    app = user("app", "2-3", 2, pod="kubepods/podx")
    found = after(app, init, *POOL, seconds=RECONCILE + 1)
    assert found.overlaps == ()
    assert found.exclusive[app.name]
    assert found.exclusive[init.name]
    assert found.owners.keys() == {2, 3}
    assert container_type is None or set(found.owners.values()) == {app.name}


@pytest.mark.parametrize(
    ("other_type", "pods"),
    [("sidecar", ("podx", "podx")), ("container", ("podx", "podx")), ("init", ("podx", "pody"))],
)
def test_a_sidecar_a_sibling_and_another_pod_keep_their_own(other_type: ContainerType, pods: tuple[str, str]) -> None:
    other = user("other", "2-3", 2, pod=pods[0], container_type=other_type)
    app = user("app", "2-3", 2, pod=pods[1])
    assert len(after(app, other, *POOL, seconds=RECONCILE + 1).overlaps) == 2


def test_overlaps_are_bounded_when_every_cpuset_was_reset() -> None:
    others = [user(f"c{number}", "0-7") for number in range(200)]
    found = after(PINNED, *others, seconds=RECONCILE + 1)
    assert len(found.overlaps) == len(found.memory) == MAX_OVERLAPS
    assert not found.exclusive[PINNED.name]


cpusets = st.frozensets(st.integers(0, 7), max_size=8)
several = st.lists(
    st.builds(
        CpusetUser,
        st.builds(CgroupName, st.just("ns"), st.sampled_from("pqrs"), st.text("abc", min_size=1, max_size=4)),
        st.sampled_from(["kubepods/podx", "kubepods/pody"]),
        cpusets,
        st.none() | st.integers(1, 8),
        st.sampled_from(["container", "init", "sidecar", "ephemeral", None]),
    ),
    max_size=12,
    unique_by=lambda user: user.name,
)


@given(several, cpusets | st.none(), st.floats(0, 20))
def test_whatever_the_cpusets_no_cpu_is_owned_and_shared(
    users: list[CpusetUser], online: frozenset[int] | None, age: float
) -> None:
    first = isolate(users, online, {}, 0.0, RECONCILE)
    found = isolate(users, online, first.memory, age, RECONCILE)
    by_name = {user.name: user for user in users}
    assert found.states.keys() == found.exclusive.keys()
    assert found.states.keys() >= {one.name for one in users if one.claim_is_known}
    if online is not None:
        assert found.shared is not None
        assert found.shared.isdisjoint(found.owners)
        assert found.shared | found.owners.keys() <= online
        assert not users or found.shared <= frozenset[int]().union(*(user.cpus for user in users))
    for cpu, owner in found.owners.items():
        assert cpu in by_name[owner].cpus
        assert found.states[owner] == "exclusive"
    for one in users:
        if found.exclusive.get(one.name) and age > RECONCILE:
            assert one.whole_cpus is not None or one.is_partition or not one.claim_is_known
            assert all(
                one.cpus.isdisjoint(other.cpus) or other.pod_path == one.pod_path for other in users if other is not one
            )


def unknown(text: str, cpus: str) -> CpusetUser:
    """Guaranteed, on v2, named by nobody: what it asked for is not known."""
    return user(text, cpus)._replace(claim_is_known=False)


@pytest.mark.parametrize("others", [POOL, (user("a", "2-3"),), ()], ids=["in the pool", "beside another", "alone"])
def test_without_a_spec_what_the_cpusets_do_not_tell_is_not_known(others: tuple[CpusetUser, ...]) -> None:
    found = judge(unknown("maybe", "0-1,4-7" if others == POOL else "2-3"), *others)
    assert name("maybe") not in found.states
    assert name("maybe") not in found.exclusive


@pytest.mark.parametrize("pins", [True, False])
def test_a_partition_owns_its_cpus_whatever_the_kubelet_does(pins: bool) -> None:
    own = user("isolated", "2-3")._replace(is_partition=True)
    found = isolate([own, *POOL], cpu_list("0-7", ""), {}, 0.0, RECONCILE, pins=pins)
    assert found.states[name("isolated")] == "exclusive"
    assert set(found.owners.values()) == {name("isolated")}


def test_a_partition_owns_cpus_that_the_kernel_took_out_of_the_root_s_effective_set() -> None:
    own = user("isolated", "2-3")._replace(is_partition=True)
    found = isolate([own, user("a", "0-1")], cpu_list("0-3", ""), {}, 0.0, RECONCILE, usable=cpu_list("0-1", ""))
    assert found.owners == {2: name("isolated"), 3: name("isolated")}
    assert found.shared == cpu_list("0-1", "")


GUARANTEED = CgroupRef("kubepods/podu/c", "kubepods/podu", "u", "c", "Guaranteed", "", "cgroupfs")
BURSTABLE = GUARANTEED._replace(qos_class="Burstable")


def spec(request: float | None, limit: float | None, allocated: float | None = None) -> ContainerIdentity:
    return ContainerIdentity("c", "app", "container", "", True, ContainerSpec(request, limit, allocated, allocated))


def pod(qos_class: QosClass) -> PodIdentity:
    return PodIdentity("u", "default", "p", PodSpec(qos_class), "Pod", "p")


@pytest.mark.parametrize(
    ("container", "qos_class", "expected"),
    [
        (spec(2, 2), "Guaranteed", 2),
        (spec(None, 2), "Guaranteed", 2),
        (spec(2, 2), "Burstable", None),
        (spec(1.5, 1.5), "Guaranteed", None),
        (spec(0.5, 0.5), "Guaranteed", None),
        (spec(None, None), "Guaranteed", None),  # pod-level resources
        (spec(2, 4), "Guaranteed", None),  # the same
        (spec(4, 4, allocated=2), "Guaranteed", 2),  # a resize under way
    ],
)
def test_whole_cpus_from_the_spec(container: ContainerIdentity, qos_class: QosClass, expected: int | None) -> None:
    limits = CpuLimits("none", shares=4096)
    assert claim_of(GUARANTEED, limits, container, pod(qos_class)) == (expected, True)


NAMES_ALONE = ContainerIdentity("c", "app", "container", "", True, None), PodIdentity("u", "ns", "p", None, "Pod", "p")


@pytest.mark.parametrize("names", [(None, None), NAMES_ALONE], ids=["unmapped", "names alone"])
@pytest.mark.parametrize(
    ("ref", "limits", "expected"),
    [
        (GUARANTEED, CpuLimits("set", shares=2048), (2, True)),
        (GUARANTEED, CpuLimits("set", shares=1536), (None, True)),
        (GUARANTEED, CpuLimits("set", shares=2), (None, True)),
        (GUARANTEED, CpuLimits("set", weight=100), (None, False)),
        (GUARANTEED, None, (None, False)),
        (BURSTABLE, CpuLimits("set", shares=2048), (None, True)),
        (BURSTABLE, None, (None, True)),
    ],
)
def test_whole_cpus_without_a_spec(
    ref: CgroupRef,
    limits: CpuLimits | None,
    expected: tuple[int | None, bool],
    names: tuple[ContainerIdentity | None, PodIdentity | None],
) -> None:
    assert claim_of(ref, limits, *names) == expected


WITH_CHECKPOINT = [one for one in RECORDINGS if (one.folder / "cpu_manager_state.json").exists()]


@pytest.mark.parametrize("recording", WITH_CHECKPOINT, ids=lambda one: one.name)
def test_the_verdict_on_a_recorded_node_is_the_kubelet_s(recording: Recording) -> None:
    rig = Rig(recording.t0 / "sys/fs/cgroup", sys=recording.t0 / "sys")
    rig.scan()
    rig.pods(recording.pods.read_bytes())
    rig.tick()
    snapshot = rig.snapshot()
    checkpoint = read_cpu_manager_state(str(recording.folder / "cpu_manager_state.json"))
    assert checkpoint is not None
    assert len(snapshot.containers) > 8
    exclusive = [one for one in snapshot.containers if one.isolation == "exclusive"]
    assert {one.ref.pod_uid: one.cpuset and one.cpuset.cpus for one in exclusive} == {
        uid: cpus for (uid, _), cpus in checkpoint.entries.items()
    }
    assert {one.isolation for one in snapshot.containers} == {"exclusive", "shared"}
    assert [one for one in snapshot.containers if one.exclusive] == exclusive
    assert snapshot.node.shared_cpus == checkpoint.default_cpus
    assert snapshot.node.owners.keys() == frozenset[int]().union(*checkpoint.entries.values())
    assert {one.container for one in snapshot.node.owners.values()} == {"pinned"}


def test_a_container_that_a_dra_driver_pinned_owns_its_cpus_under_the_policy_none() -> None:
    users = [user("a", "2-7"), user("b", "2-7"), user("owner", "0-1", 2)]
    found = isolate(users, CPUS, {}, 0.0, RECONCILE, pins=False)
    assert found.states[name("owner")] == "exclusive"
    assert found.owners == dict.fromkeys({0, 1}, name("owner"))
    # A late-comer on its CPUs is named: it was alone there before.
    late = [*users, user("late", "0-7")]
    second = isolate(late, CPUS, found.memory, 1.0, RECONCILE, pins=False)
    third = isolate(late, CPUS, second.memory, RECONCILE + 2.0, RECONCILE, pins=False)
    assert [(one.owner, one.other) for one in third.overlaps] == [(name("owner"), name("late"))]


@pytest.mark.parametrize("pins", [False, None])
@pytest.mark.parametrize(
    "users",
    [
        [user("a", "0-7"), user("b", "0-7"), user("wide", "0-1", 2)],
        # kubepods may have fewer CPUs than the node, and then looks like somebody's own.
        [user("wide", "0-3", 4), user("small", "0-3")],
    ],
)
def test_who_never_was_alone_owns_nothing_where_no_kubelet_gives_cpus(
    users: list[CpusetUser], pins: bool | None
) -> None:
    first = isolate(users, CPUS, {}, 0.0, RECONCILE, pins=pins)
    later = isolate(users, CPUS, first.memory, RECONCILE + 2.0, RECONCILE, pins=pins)
    assert later.states == {one.name: "shared" if one.whole_cpus is None else "eligible" for one in users}
    assert (later.overlaps, later.owners) == ((), {})


def test_mixed_cpus_own_what_the_checkpoint_has_and_share_the_rest() -> None:
    """CRI-O: cpuset 2-7, checkpoint 4-7."""
    mixed = user("mixed", "2-7", 4)._replace(entry=cpu_list("4-7", ""))
    found = isolate([user("a", "0-3"), user("b", "0-3"), mixed], CPUS, {}, 0.0, RECONCILE)
    later = isolate([user("a", "0-3"), user("b", "0-3"), mixed], CPUS, found.memory, RECONCILE + 2.0, RECONCILE)
    assert later.states[name("mixed")] == "exclusive"
    assert later.owners == dict.fromkeys({4, 5, 6, 7}, name("mixed"))
    assert later.overlaps == ()
    assert later.shared == cpu_list("0-3", "")


@pytest.mark.parametrize(("usable", "shared"), [(None, "0-5"), ("0-3", "0-3")])
def test_cpus_that_no_container_may_use_are_not_shared(usable: str | None, shared: str) -> None:
    # v1: a CPU that went offline and came back is in no cpuset any more; usable is what the root has.
    root = None if usable is None else cpu_list(usable, "")
    assert isolate([user("a", "0-5")], CPUS, {}, 0.0, RECONCILE, usable=root).shared == cpu_list(shared, "")
