"""Selects the containers that an argument of the command line names: a pod's, a workload's or one. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from exporter.errors import ConfigError, escape_control, quoted
from exporter.report.schema import Container
from exporter.report.summary import full_name

MAX_LISTED: Final = 4
USAGE: Final = "must be NAMESPACE/POD[/CONTAINER], POD or [NAMESPACE/]KIND/NAME"
_SHORT: Final = {
    "Deployment": "deploy", "StatefulSet": "sts", "DaemonSet": "ds", "ReplicaSet": "rs", "Job": "job", "CronJob": "cj",
}  # fmt: skip
KINDS: Final = {name: kind for kind, short in _SHORT.items() for name in (short, kind.lower(), f"{kind.lower()}s")}
"""As kubectl abbreviates them; it may add their group: ``deployment.apps``."""
PODS: Final = {"po", "pod", "pods"}
_PARTS: Final = 3


class NotHereError(ConfigError):
    """No container of this node is meant; :attr:`hints`, fit to print, find the node and the exporter that know it."""

    def __init__(self, message: str, hints: Sequence[str]) -> None:
        super().__init__(message)
        self.hints = [escape_control(hint) for hint in hints]


def select(containers: Sequence[Container], text: str, *, namespace: str = "", node: str = "") -> list[Container]:
    """Return the containers of a pod, a container or a workload; ``namespace`` is that of a bare name.

    A name that is not there stands for the only one that contains it. Raises :class:`NotHereError`, ``ConfigError``.
    """
    parts = text.split("/")
    if len(parts) > _PARTS or not all(parts[-2:]):
        raise ConfigError(f"{USAGE}, not {quoted(text)}")
    before = parts[-2].lower() if len(parts) > 1 else ""
    if before in PODS and not any(_is_named(one, parts) for one in containers):
        return select(containers, "/".join([*parts[:-2], parts[-1]]), namespace=namespace, node=node)
    kind = KINDS.get(before.partition(".")[0])
    if namespace:
        containers = [one for one in containers if one["namespace"] == namespace]
    found = [one for one in containers if _is_named(one, parts)]
    if kind and not found:
        found = [one for one in containers if _is_owned(one, kind, parts)]
    # Of a pod in a sandbox (Kata, gVisor) the host knows no container.
    found = found or [one for one in containers if not one["container"] and _is_named(one, parts[:2])]
    homes = {one["namespace"] for one in found}
    if len(homes) > 1:
        raise ConfigError(f"{_shown(text)} is in {len(homes)} namespaces: {_listing(sorted(set(map(_pod, found))))}")
    if found:
        return found
    near, contains = _near(containers, text)
    if contains and len(near) == 1:
        return [one for one in containers if near[0] in {_pod(one), full_name(one)}]
    hint = f"; near it: {_listing(near)}" if near else ""
    place = f"this node ({_shown(node)})" if node else "this node"
    home = namespace or (parts[0] if len(parts) > 1 and parts[0].lower() not in KINDS else "NAMESPACE")
    asked = shlex.join([*(["-n", namespace] if namespace else []), text])
    pod = "" if kind else f" {shlex.quote(parts[min(1, len(parts) - 1)])}"
    raise NotHereError(
        f"no container of {place} is {_shown(text)}{hint}",
        [
            f"kubectl -n {shlex.quote(home)} get pods{pod} -o wide",
            "kubectl get pods -A -l app.kubernetes.io/name=kube-throttle-exporter -o wide",
            f"kubectl throttle explain {asked}   # both at once, with the plugin in deploy/kubectl",
        ],
    )


def _is_named(one: Container, parts: Sequence[str]) -> bool:
    name = (one["namespace"], one["pod"], one["container"])
    return one["pod"] == parts[0] if len(parts) == 1 else name[: len(parts)] == tuple(parts)


def _is_owned(one: Container, kind: str, parts: Sequence[str]) -> bool:
    return (one["workload_kind"], one["workload"]) == (kind, parts[-1]) and parts[:-2] in ([], [one["namespace"]])


def _pod(container: Container) -> str:
    return "/".join(filter(None, (container["namespace"], container["pod"])))


def _near(containers: Iterable[Container], text: str) -> tuple[list[str], bool]:
    """Names that resemble ``text``, and whether the first contain it: else they begin like it or hold its last part."""
    text = text[:200].lower()
    show = full_name if text.count("/") == _PARTS - 1 else _pod
    names = sorted({show(one) for one in containers})
    containing = [name for name in names if text in name.lower()]
    # A pod's random suffix would outweigh everything else, so as much of a name is compared as was typed.
    begins = {(name if "/" in text else name.rpartition("/")[2])[: len(text)].lower(): name for name in names}
    alike = [begins[match] for match in get_close_matches(text, begins, n=MAX_LISTED, cutoff=0.7)]
    last = text.rpartition("/")[2]
    if containing:
        return containing, True
    return list(dict.fromkeys([*alike, *(name for name in names if last in name.lower())]))[:MAX_LISTED], False


def _shown(text: str) -> str:
    return quoted(text)[1:-1]


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(_shown(name) for name in names[:MAX_LISTED])
    return f"{shown}, ..." if len(names) > MAX_LISTED else shown
