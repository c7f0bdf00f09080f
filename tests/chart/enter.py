"""Becomes the process of a container: new root, mounts, user id, then exec. Started by ``runtime.py`` in a namespace.

One argument, JSON: root, image, volumes, user, group, groups, argv, env. Standard library only: it runs as root.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PR_SET_NO_NEW_PRIVS = 38
ALL_IDS = 1 << 31


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def show(source: str, target: Path, *, recursive: bool = False) -> None:
    """``source`` at ``target``, read-only."""
    target.mkdir(parents=True, exist_ok=True)
    mount("--rbind" if recursive or not is_root() else "--bind", source, str(target))
    if is_root():
        mount("-o", "remount,bind,ro", str(target))


def is_root() -> bool:
    """Whether this is the machine's root. That of a namespace may not make what it did not mount read-only."""
    return int(Path("/proc/self/uid_map").read_text().split()[2]) >= ALL_IDS


def build(root: Path, image: Mapping[str, str], volumes: Mapping[str, str]) -> None:
    """A root file system of the image's folders and the pod's volumes."""
    mount("-t", "tmpfs", "tmpfs", str(root))
    for path, source in image.items():
        inside = root / path.lstrip("/")
        if Path(source).is_symlink():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.symlink_to(os.readlink(source))
        else:
            show(source, inside)
    for path in ("proc", "dev"):
        (root / path).mkdir()
        mount("--rbind", f"/{path}", str(root / path))
    # Without what is mounted inside it: a container's /sys/fs/cgroup is not the node's.
    show("/sys", root / "sys")
    for path, source in volumes.items():
        show(source, root / path.lstrip("/"), recursive=True)
    mount("-o", "remount,bind,ro", str(root))


def become(user: int, group: int, groups: Sequence[int]) -> None:
    """No privileges from here on, and no way to get any."""
    if is_root():
        os.setgroups(groups)
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def main(order: Mapping[str, Any]) -> None:
    root = Path(order["root"])
    build(root, order["image"], order["volumes"])
    os.chroot(root)
    os.chdir("/")
    become(order["user"], order["group"], order["groups"])
    os.execve(order["argv"][0], order["argv"], order["env"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
