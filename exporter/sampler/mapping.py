"""Which pod and container each cgroup is. Decides from what is known; reads nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from exporter.model import ContainerIdentity, PodIdentity, PodList
from exporter.sampler.tracked import State, Tracked

ATTEMPTS = 2
"""Refreshes of the pod list to wait for before a container is shown without its name: the status lags the cgroup."""
PATIENCE_SECONDS = 10.0
"""The same as a time, for a kubelet that accepts connections and never answers."""
_MIN_SHARES, _MIN_WEIGHT = 2, 1


@dataclass(frozen=True, slots=True)
class Directory:
    """The last good pod list, indexed."""

    pods: Mapping[str, PodIdentity] = field(default_factory=dict)
    by_container: Mapping[str, tuple[PodIdentity, ContainerIdentity]] = field(default_factory=dict)
    """By container id, where exactly one pod claims it."""

    @classmethod
    def of(cls, pod_list: PodList) -> Directory:
        """The index of ``pod_list``."""
        claims: dict[str, list[tuple[PodIdentity, ContainerIdentity]]] = {}
        for pod in pod_list.pods.values():
            for container in pod.containers:
                for container_id in (container.container_id, *container.previous_container_ids):
                    if container_id:
                        claims.setdefault(container_id, []).append((pod, container))
        return cls(dict(pod_list.pods), {key: claim[0] for key, claim in claims.items() if len(claim) == 1})

    def find(self, pod_uid: str, container_id: str) -> tuple[PodIdentity, ContainerIdentity] | None:
        """The container that ``container_id`` names. Of several claims the one of the path's own pod holds."""
        pod = self.pods.get(pod_uid)
        if pod is not None:
            for container in pod.containers:
                if container_id == container.container_id or container_id in container.previous_container_ids:
                    return pod, container
        return self.by_container.get(container_id)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an unknown container is held back."""

    attempts: int
    """Refreshes that ended so far, well or not."""
    now: float
    expects_names: bool
    """False with the pod source ``none``: nothing to wait for."""

    def is_over(self, one: Tracked) -> bool:
        """Whether ``one`` has waited long enough for its name."""
        waited = self.attempts - one.first_attempts >= ATTEMPTS or self.now - one.first_seen >= PATIENCE_SECONDS
        return waited or not self.expects_names


def assign(tracked: Collection[Tracked], directory: Directory, patience: Patience) -> bool:
    """Set state, pod and container of every cgroup; True when any is another now.

    A name once known stays, whatever a later list leaves out.
    """
    before = [(one.state, one.pod, one.container) for one in tracked]
    families: dict[str, list[Tracked]] = {}
    heads: list[Tracked] = []
    for one in tracked:
        if one.ref.container_id is None:
            heads.append(one)
        else:
            families.setdefault(one.ref.pod_path, []).append(one)
    pods = {path: _assign_family(family, directory, patience) for path, family in families.items()}
    for one in heads:
        one.pod = directory.pods.get(one.ref.pod_uid) or pods.get(one.ref.path) or one.pod
        one.state = _unknown_state(one, patience) if one.pod is None else "mapped"
    return before != [(one.state, one.pod, one.container) for one in tracked]


def _assign_family(family: list[Tracked], directory: Directory, patience: Patience) -> PodIdentity | None:
    """The containers of one pod directory; returns the pod they turned out to be."""
    unknown: list[Tracked] = []
    known: PodIdentity | None = directory.pods.get(family[0].ref.pod_uid)
    for one in family:
        match = directory.find(one.ref.pod_uid, one.ref.container_id or "")
        if match is not None:
            one.pod, one.container = match
            one.state = "mapped"
        elif one.container is None:
            unknown.append(one)
            one.pod = known
        known = known or one.pod
    sandbox = _sandbox(family, unknown, patience, pod_is_known=known is not None)
    for one in unknown:
        if one is sandbox:
            one.state = "sandbox"
        elif one.live or one.state != "sandbox":
            one.state = _unknown_state(one, patience)
    return known


def _sandbox(
    family: list[Tracked], unknown: list[Tracked], patience: Patience, *, pod_is_known: bool
) -> Tracked | None:
    """The one leaf that a pod has more than its status names.

    The first of its pod is it at once; another, which may be a container whose status lags, once it has waited for its
    name in vain. In a pod that nobody names, a single leaf is taken for a container: pods without sandbox cgroups
    exist, and hiding a container would be worse than showing a pause.
    """
    live = [one for one in family if one.live]
    alike = [one for one in unknown if one.live and _looks_like_sandbox(one)]
    if not alike or (len(live) == 1 and not pod_is_known):
        return None
    first = min(alike, key=lambda one: (one.first_seen, one.inode))
    came_first = len(live) > 1 and all(first.first_seen <= one.first_seen for one in live)
    return first if came_first or patience.is_over(first) else None


def _looks_like_sandbox(one: Tracked) -> bool:
    limits = one.limits
    if limits is None or limits.quota_state == "set":
        return False
    return limits.shares == _MIN_SHARES or limits.weight == _MIN_WEIGHT


def _unknown_state(one: Tracked, patience: Patience) -> State:
    return "unmapped" if one.state == "unmapped" or patience.is_over(one) else "pending"
