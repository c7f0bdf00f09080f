"""The few fields of a v1 Pod that are read, under the API's names. Unknown keys and explicit nulls are fine anywhere.

Source: ``k8s.io/api/core/v1``. One malformed container or status becomes ``None`` in its list; the pod is kept.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetPydanticSchema, ValidationError
from pydantic_core import core_schema

T = TypeVar("T")


def _writable(text: str) -> str:
    """JSON can spell half a surrogate pair; no page could show it."""
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_writable)]

OrNone = Annotated[
    T | None,
    GetPydanticSchema(
        lambda source, handler: core_schema.with_default_schema(handler(source), default=None, on_error="default")
    ),
]
"""``None`` stands for what could not be understood; the reader counts it."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Amounts(_Model):
    """``ResourceList``. Values stay as they came: one bad quantity costs that quantity only."""

    cpu: Any = None
    memory: Any = None


class Resources(_Model):
    """``ResourceRequirements``."""

    requests: Amounts | None = None
    limits: Amounts | None = None


class Container(_Model):
    """``Container`` and ``EphemeralContainer``."""

    name: Text
    resources: Resources | None = None
    restart_policy: Text | None = Field(None, alias="restartPolicy")
    image: Text | None = None


class Terminated(_Model):
    """``ContainerStateTerminated``."""

    container_id: Text | None = Field(None, alias="containerID")


class State(_Model):
    """``ContainerState``; at most one is set."""

    running: Any = None
    terminated: Terminated | None = None


class ContainerStatus(_Model):
    """``ContainerStatus``."""

    name: Text
    container_id: Text | None = Field(None, alias="containerID")
    restart_count: int | None = Field(None, alias="restartCount", ge=0, lt=2**31)
    image: Text | None = None
    state: State | None = None
    last_state: State | None = Field(None, alias="lastState")
    resources: Resources | None = None
    allocated_resources: Amounts | None = Field(None, alias="allocatedResources")


class OwnerReference(_Model):
    """``OwnerReference``."""

    kind: Text
    name: Text
    controller: bool | None = None


class Metadata(_Model):
    """``ObjectMeta``."""

    name: Text
    namespace: Text
    uid: Text | None = None
    labels: dict[Text, Text] | None = None
    annotations: dict[Text, Text] | None = None
    owner_references: list[OwnerReference] | None = Field(None, alias="ownerReferences")


class Spec(_Model):
    """``PodSpec``."""

    node_name: Text | None = Field(None, alias="nodeName")
    containers: list[OrNone[Container]] | None = None
    init_containers: list[OrNone[Container]] | None = Field(None, alias="initContainers")
    ephemeral_containers: list[OrNone[Container]] | None = Field(None, alias="ephemeralContainers")
    resources: Resources | None = None


class Status(_Model):
    """``PodStatus``."""

    qos_class: Text | None = Field(None, alias="qosClass")
    container_statuses: list[OrNone[ContainerStatus]] | None = Field(None, alias="containerStatuses")
    init_container_statuses: list[OrNone[ContainerStatus]] | None = Field(None, alias="initContainerStatuses")
    ephemeral_container_statuses: list[OrNone[ContainerStatus]] | None = Field(None, alias="ephemeralContainerStatuses")


class Pod(_Model):
    """``Pod``."""

    kind: Text | None = None
    metadata: Metadata
    spec: Spec
    status: Status | None = None


def read_pod(item: Any) -> Pod | None:
    """``item``, decoded JSON, as a pod; ``None`` when it is not one."""
    try:
        return Pod.model_validate(item)
    except ValidationError:
        return None
