"""Maps cgroups to pods and containers; decides from what is known and reads nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.cgroupfs.names import KATA, Owners
from exporter.identities import ContainerIdentity, PodIdentity, PodList
from exporter.sampler.tracked import ShownName, TrackedCgroup

ATTEMPTS = 2  # refreshes of the pod list before a container is shown without its name: the status lags the cgroup
DEADLINE_SECONDS = 10.0  # the same as a time, for a kubelet that accepts connections and never answers
_MIN_SHARES, _MIN_WEIGHT = 2, 1
_ID_LENGTH = 64
HasWaited = Callable[[TrackedCgroup], bool]  # whether a cgroup has waited long enough for its name


def deadline(attempts: int, now: float, *, expects_names: bool) -> HasWaited:
    """Return a test of whether a cgroup has waited long enough; with the pod source ``none`` each one has."""
    return lambda one: (
        not expects_names or attempts - one.first_attempts >= ATTEMPTS or now - one.first_seen >= DEADLINE_SECONDS
    )


@dataclass(frozen=True, slots=True)
class PodIndex:
    """The last good pod list, indexed."""

    pods: Mapping[str, PodIdentity] = field(default_factory=dict)
    by_container: Mapping[str, tuple[PodIdentity, ContainerIdentity]] = field(default_factory=dict)
    """By container id, of ids that exactly one pod claims."""
    owners: Owners = field(default_factory=dict)  # pods of the running containers among them

    @classmethod
    def of(cls, pod_list: PodList) -> PodIndex:
        """Index ``pod_list``."""
        claims: dict[str, list[tuple[PodIdentity, ContainerIdentity]]] = {}
        for pod in pod_list.pods.values():
            for container in pod.containers:
                for container_id in (container.container_id, *container.previous_container_ids):
                    if len(container_id) == _ID_LENGTH:
                        claims.setdefault(container_id, []).append((pod, container))
        unique = {key: claim[0] for key, claim in claims.items() if len(claim) == 1}
        owners = {
            key: (pod.uid, None if pod.spec is None else pod.spec.qos_class)
            for key, (pod, container) in unique.items()
            if container.running and key == container.container_id
        }
        return cls(dict(pod_list.pods), unique, owners)

    def find(self, pod_uid: str, container_id: str) -> tuple[PodIdentity, ContainerIdentity] | None:
        """Return the container of this id; where several pods claim it, that of the path's own pod."""
        pod = self.pods.get(pod_uid)
        if pod is not None:
            for container in pod.containers:
                if container_id in {container.container_id, *container.previous_container_ids}:
                    return pod, container
            # Names of log links may be cut within the id.
            cut = [one for one in pod.containers if one.container_id and container_id.startswith(one.container_id)]
            if len(cut) == 1:
                return pod, cut[0]
        return self.by_container.get(container_id)

    def missing(self, tracked: Collection[TrackedCgroup]) -> int:
        """Count running containers of the pod list that have no cgroup of their own."""
        # Log names tell of no container whether it runs.
        known = {pod.uid for pod in self.pods.values() if pod.spec is not None}
        found = {one.ref.container_id for one in tracked}
        return sum(uid in known and container_id not in found for container_id, (uid, _) in self.owners.items())


def assign(tracked: Collection[TrackedCgroup], index: PodIndex, has_waited: HasWaited) -> bool:
    """Set state, pod and container of every cgroup; True when any changed.

    A name once known stays, whatever a later list leaves out.
    """
    before = [(one.state, one.pod, one.container) for one in tracked]
    siblings: dict[str, list[TrackedCgroup]] = {}
    for one in tracked:
        if one.ref.container_id is not None:
            siblings.setdefault(one.ref.pod_path, []).append(one)
    ids = {one.ref.container_id for one in tracked if one.live}
    pods = {path: _assign_siblings(found, index, has_waited, ids) for path, found in siblings.items()}
    for one in tracked:
        if one.ref.container_id is None:
            one.has_containers = one.ref.path in siblings
            one.pod = index.pods.get(one.ref.pod_uid) or pods.get(one.ref.path) or one.pod
            if one.pod is not None:
                one.state = "mapped"
            else:
                _set_unknown(one, has_waited)
    return before != [(one.state, one.pod, one.container) for one in tracked]


def _assign_siblings(
    siblings: list[TrackedCgroup], index: PodIndex, has_waited: HasWaited, ids: Collection[str | None]
) -> PodIdentity | None:
    """Map the containers of one pod directory, ``ids`` being those of all cgroups; return the pod, if known."""
    unknown: list[TrackedCgroup] = []
    known: PodIdentity | None = index.pods.get(siblings[0].ref.pod_uid)
    for one in siblings:
        match = index.find(one.ref.pod_uid, one.ref.container_id or "")
        if match is not None:
            one.pod, one.container = match
            one.state = "mapped"
        elif one.container is None:
            unknown.append(one)
            one.pod = known
        known = known or one.pod
    sandbox = _sandbox(siblings, unknown, has_waited, known)
    if sandbox is None and known is not None:
        whole = _whole_pod(siblings, known, ids)
        sandbox = whole if whole is not None and has_waited(whole) else None
    for one in unknown:
        if one is sandbox:
            one.state = "sandbox"
        elif one.is_empty and known is not None and has_waited(one):
            one.state = "empty"
        elif one.live or one.state not in {"sandbox", "empty"}:
            _set_unknown(one, has_waited)
    return known


def _set_unknown(one: TrackedCgroup, has_waited: HasWaited) -> None:
    one.state = "unmapped" if one.state == "unmapped" or has_waited(one) else "pending"


def _sandbox(
    siblings: list[TrackedCgroup], unknown: list[TrackedCgroup], has_waited: HasWaited, pod: PodIdentity | None
) -> TrackedCgroup | None:
    """Return the one leaf that a pod has beside the containers of its status.

    The first leaf of its pod is the sandbox at once; a later one, which may be a container whose status lags, after it
    has waited. A single leaf of an unknown pod is taken for a container: pods without sandbox cgroups exist, and a
    hidden container is worse than a visible sandbox.
    """
    live = [one for one in siblings if one.live]
    alike = [one for one in unknown if one.live and _looks_like_sandbox(one)]
    # A sandbox that timed out may be left beside the one that took its place.
    alike = [one for one in alike if not one.is_empty] or alike
    if not alike or (len(live) == 1 and pod is None):
        return None
    first = min(alike, key=lambda one: (one.first_seen, one.inode))
    came_first = len(live) > 1 and all(first.first_seen <= one.first_seen for one in live)
    return first if came_first or first.ref.runtime == KATA or has_waited(first) else None


def _looks_like_sandbox(one: TrackedCgroup) -> bool:
    limits = one.limits
    if one.ref.runtime == KATA:
        return True
    if limits is None or limits.quota_state == "set":
        return False
    return limits.shares == _MIN_SHARES or limits.weight == _MIN_WEIGHT


def _whole_pod(siblings: list[TrackedCgroup], pod: PodIdentity, ids: Collection[str | None]) -> TrackedCgroup | None:
    """Return the single leaf, whatever its weight, that holds the whole pod: Kata with ``sandbox_cgroup_only``.

    The pod's list of containers has running ones, and none of them has a cgroup. Leftovers may be beside it.
    """
    live = [one for one in siblings if one.live and (one.container is not None or not one.is_empty)]
    running = {one.container_id for one in pod.containers if one.running} - {""}
    is_whole = len(live) == 1 and live[0].container is None and bool(running) and running.isdisjoint(ids)
    return live[0] if is_whole else None


def newest_by_name(tracked: Iterable[TrackedCgroup]) -> dict[ShownName, TrackedCgroup]:
    """Return the cgroup shown under each name: a live one, one with containers in it, the one that went or came last.

    A name must never be on a page twice, whatever the pod list says: Prometheus would drop the whole scrape.
    """
    chosen: dict[ShownName, TrackedCgroup] = {}
    for one in tracked:
        if (name := one.name) is not None:
            chosen[name] = max(chosen.get(name, one), one, key=_rank)
    return chosen


def _rank(one: TrackedCgroup) -> tuple[bool, bool, float, int]:
    return one.live, one.has_containers, one.gone_at or 0.0, one.inode
