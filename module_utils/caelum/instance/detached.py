"""Commands that outlive the unit which starts them: systemd ends all of a unit's processes when it restarts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Root with what it takes to write, own and inspect an ecosystem's files and processes; the rest is left to systemd.
SANDBOX = (
    "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_SYS_PTRACE",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=tmpfs",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "KeyringMode=private",
)


def command(name: str, argv: Sequence[str], environment: Mapping[str, str], writable: Sequence[str] = ()) -> list[str]:
    """Words that run `argv`, an absolute path and arguments, in a unit `name` of its own and return when it ends.

    As root, with `environment`; of the host's files it may write those below `writable` alone. Its exit code is
    theirs, its output goes to the journal. A second one of the same name is refused while the first runs. Credentials
    are named by path: the unit has none of its own.
    """
    passed = [f"--setenv={key}={value}" for key, value in sorted(environment.items())]
    confined = [f"--property={line}" for line in (*SANDBOX, *(f"ReadWritePaths=-{path}" for path in writable))]
    options = ["--quiet", "--collect", "--wait", "--service-type=exec", f"--unit={name}", *confined, *passed]
    return ["systemd-run", *options, "--", *argv]
