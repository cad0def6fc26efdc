"""What an instance's process may do under systemd: the lines of its unit that take everything else away.

Where a line cannot be used for a unit, a comment in the unit says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .instances import Instance
from .layout import Layout

SHARE = "CAELUM_SHARE"
TORCH = "finvec"
CPU_CHOOSERS = frozenset({"finvec", "fincoll"})
SHARE_CREDENTIALS = (
    ".alpha_vantage_credentials.json",
    ".tradestation_token.json",
    ".sentimentrader_credentials.json",
    ".pim_database_credentials.json",
)
_HIDDEN = (
    "/boot",
    "/root",
    "/srv",
    "/media",
    "/mnt",
    "/var/log",
    "/var/backups",
    "/var/spool",
    "/run/log",
    "/run/dbus",
    "/run/systemd/private",
    "/run/postgresql",
    "/etc/ssh",
    "/etc/sudoers.d",
    "/etc/shadow",
    "/etc/gshadow",
)
_ALWAYS = (
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateUsers=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures=native",
    "# EPERM instead of a signal: libraries try some calls and go on without.",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "KeyringMode=private",
    "RemoveIPC=yes",
    "UMask=0077",
    "DevicePolicy=closed",
)
# How systemd is asked for something, and a home whose absence libpq takes for granted: it fails at a closed one.
_ROOTS = frozenset({"/root", "/run/dbus", "/run/systemd/private"})


def sandbox(instance: Instance, layout: Layout) -> Iterator[str]:
    """The lines for an instance's service unit."""
    if instance.options.privileged:
        yield "# Root, since it asks systemd for a unit that returns this host; by itself it changes nothing."
    yield from _ALWAYS
    yield from _ports(instance)
    yield from _devices(instance)
    yield from _memory(instance)
    yield from _files(instance, layout)


def _ports(instance: Instance) -> Iterator[str]:
    if instance.port is not None and not instance.options.socket:
        yield f"# It listens on port {instance.port} itself, so bind(2) stays allowed."
        return
    yield "# Ports are systemd's to open: SocketBindDeny= needs more of the kernel than Debian 12 asks for."
    yield "SystemCallFilter=~bind"


def _devices(instance: Instance) -> Iterator[str]:
    devices = instance.options.devices
    if instance.service in CPU_CHOOSERS:
        yield "# ProcSubset=pid would hide /proc/cpuinfo, by which torch and onnxruntime choose their code."
    elif not devices:
        yield "ProcSubset=pid"
    if not devices:
        yield "PrivateDevices=yes"
        return
    yield "# PrivateDevices= would hide the devices below, ProcSubset=pid what their driver tells in /proc."
    yield from (f"DeviceAllow={_device(device)} rw" for device in devices)


def _device(device: str) -> str:
    # systemd knows patterns for names of drivers alone, as in char-nvidia*.
    return f"char-{Path(device).name}" if "*" in device else device


def _memory(instance: Instance) -> Iterator[str]:
    if instance.service == TORCH:
        yield "# With MemoryDenyWriteExecute= torch fails (could not create a primitive): it makes code while it runs."
        return
    yield "MemoryDenyWriteExecute=yes"


def _files(instance: Instance, layout: Layout) -> Iterator[str]:
    share = instance.environment.get(SHARE, "")
    writes = bool(share) and any(Path(path).is_relative_to(share) for path in instance.options.writable)
    closed = [*_HIDDEN, str(layout.credentials), str(layout.revisions)]
    state = str(layout.prefix / "var/lib/caelum" / instance.service)
    yield "# ProtectSystem=strict leaves out /run, and what ExecPaths= names unless it is bound; NoExecPaths=/ what is"
    yield "# mounted for this unit."
    yield "ReadOnlyPaths=/run"
    yield f"BindReadOnlyPaths=/usr {layout.services}"
    yield f"ExecPaths=/usr {layout.services}"
    own = "" if instance.options.privileged else f" -{state}"
    yield f"NoExecPaths=/ /tmp /var/tmp /dev/shm{own}"
    if instance.options.privileged:
        yield "ProtectHome=tmpfs"
        yield from (f"InaccessiblePaths=-{path}" for path in closed if path not in _ROOTS)
        return
    if writes:
        # An empty /home keeps the way to the share open, which may be in one.
        yield "ProtectHome=tmpfs"
        yield f"BindReadOnlyPaths=-{share}"
        closed += [f"{share}/{name}" for name in SHARE_CREDENTIALS]
    elif share:
        yield "# A line that names the share would keep this from starting while the share hangs. It may read what its"
        yield "# modes allow, and the credentials there are their owner's alone."
        yield "ProtectHome=read-only"
        closed = [path for path in closed if not Path(share).is_relative_to(path)]
    else:
        yield "ProtectHome=tmpfs"
    yield from (f"ReadWritePaths=-{path}" for path in (state, *instance.options.writable))
    yield from (f"InaccessiblePaths=-{path}" for path in closed)
