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


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def show(source: str, target: Path, *, recursive: bool = False) -> None:
    """``source`` at ``target``, read-only."""
    target.mkdir(parents=True, exist_ok=True)
    mount("--rbind" if recursive else "--bind", source, str(target))
    mount("-o", "remount,bind,ro", str(target))


def build(root: Path, image: Sequence[str], volumes: Mapping[str, str]) -> None:
    """A root file system of the image's folders and the pod's volumes."""
    mount("-t", "tmpfs", "tmpfs", str(root))
    for folder in image:
        inside = root / folder.lstrip("/")
        if Path(folder).is_symlink():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.symlink_to(os.readlink(folder))
        else:
            show(folder, inside)
    (root / "proc").mkdir()
    mount("--rbind", "/proc", str(root / "proc"))
    (root / "dev").mkdir()
    mount("--rbind", "/dev", str(root / "dev"))
    # Without what is mounted inside it: a container's /sys/fs/cgroup is not the node's.
    show("/sys", root / "sys")
    for path, source in volumes.items():
        show(source, root / path.lstrip("/"), recursive=True)
    mount("-o", "remount,ro", str(root))


def become(user: int, group: int, groups: Sequence[int]) -> None:
    """No privileges from here on, and no way to get any."""
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
