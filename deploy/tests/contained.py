#!/usr/bin/env python3
"""Runs a program as a container runtime would, with the kernel's means and nothing else.

    contained.py --root DIR [--bind FROM:TO[:ro]]... [--node] [--user UID | --capabilities A,B] -- PROGRAM...

The root is DIR, read-only; `--bind` lays folders and files over it. `--node` gives what a pod with
`hostPID` and `hostNetwork` has: /proc of all processes and /sys, and a cgroup namespace of its own.
It ends in the program itself, so that signals reach it, and its mounts go with it.
"""

import argparse
import ctypes
import os
import pathlib

LIBC = ctypes.CDLL(None, use_errno=True)
# sched.h, sys/mount.h, linux/prctl.h
CLONE_NEWNS, CLONE_NEWCGROUP = 0x20000, 0x2000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
# linux/capability.h
CAPABILITIES = {
    "DAC_READ_SEARCH": 2, "NET_ADMIN": 12, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "PERFMON": 38, "BPF": 39,
}  # fmt: skip


def call(function, *arguments):
    if getattr(LIBC, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}{arguments}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0):
    encode = lambda text: None if text is None else str(text).encode()
    call("mount", encode(source), encode(target), encode(kind), flags, None)


def bind(source, target, read_only):
    mount(source, target, flags=MS_BIND)
    if read_only:
        mount(None, target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def cgroup_mount():
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ")
        if after.startswith("cgroup2 "):
            return before.split()[4]
    raise SystemExit("contained: no cgroup v2 hierarchy is mounted")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--node", action="store_true")
    parser.add_argument("--user", type=int)
    parser.add_argument("--capabilities")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    root = options.root

    call("unshare", CLONE_NEWNS | (CLONE_NEWCGROUP if options.node else 0))
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    bind(root, root, read_only=True)
    mount("proc", root / "proc", "proc")
    if options.node:
        cgroup = cgroup_mount()
        mount("sysfs", root / "sys", "sysfs", MS_RDONLY)
        bind(cgroup, root / "sys/fs/cgroup", read_only=True)
    for text in options.bind:
        source, target, *rest = text.split(":")
        bind(source, root / target.lstrip("/"), read_only=rest == ["ro"])
    os.chroot(root)
    os.chdir("/")

    wanted = {CAPABILITIES[name] for name in (options.capabilities or "").split(",") if name}
    for number in range(64):
        if number not in wanted:
            # Numbers that this kernel does not know are refused.
            LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setgroups([])
    if options.user:
        os.setgid(options.user)
        os.setuid(options.user)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.execve(options.program[0], options.program, {"NODE_NAME": "node-1"})


main()
