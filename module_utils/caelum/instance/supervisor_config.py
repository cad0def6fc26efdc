"""Text of supervisord's configuration: the daemon's and one program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from .instances import Instance
from .launch import EXIT_CANNOT_START, FINGERPRINT, launcher
from .layout import Layout

FINGERPRINT_LINE = f" {FINGERPRINT}="


def daemon(layout: Layout, socket: Path, pidfile: Path, *, as_root: bool) -> str:
    """Text of supervisord.conf."""
    lines = [
        "; Written by caelum_instance; changes are overwritten. Read when supervisord starts.",
        "[unix_http_server]",
        f"file={_text(socket)}",
        "chmod=0700",
        "",
        "[supervisord]",
        f"logfile={_text(layout.logs / 'supervisord.log')}",
        "logfile_maxbytes=10MB",
        "logfile_backups=3",
        f"pidfile={_text(pidfile)}",
        f"childlogdir={_text(layout.logs)}",
        "directory=/",
        "umask=022",
        "minfds=1024",
        *(["user=root"] if as_root else []),
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[include]",
        "files=conf.d/*.conf",
        "",
    ]
    return "\n".join(lines)


def program(instance: Instance, layout: Layout, slot: Path, fingerprint: str) -> str:
    """Text of an instance's program.

    startsecs=0 lets exit code 78 count from the first moment on: with more, supervisord takes each early end
    for a failed start and tries again.
    """
    user = instance.user
    environment = {
        "CAELUM_ENV_FILE": str(layout.env_file(instance.name)),
        "PYTHONUNBUFFERED": "1",
        **({"CREDENTIALS_DIRECTORY": str(layout.credentials_of(instance.name))} if instance.credentials else {}),
        **({"USER": user.name, "LOGNAME": user.name, "HOME": user.home} if user else {}),
        FINGERPRINT: fingerprint,
    }
    lines = [
        "; Written by caelum_instance; changes are overwritten.",
        f"[program:{instance.name}]",
        f"command=/bin/sh -c {_text(shlex.quote(launcher(slot, instance.command)))}",
        "environment=" + ",\n ".join(f'{key}="{_text(value)}"' for key, value in environment.items()),
        *([f"user={user.name}"] if user else []),
        f"priority={instance.priority}",
        f"autostart={'true' if instance.wanted_running else 'false'}",
        "autorestart=unexpected",
        f"exitcodes=0,{EXIT_CANNOT_START}",
        "startsecs=0",
        "startretries=3",
        f"stopsignal={instance.stop_signal}",
        f"stopwaitsecs={instance.stop_wait}",
        "stopasgroup=true",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_text(layout.log(instance.name))}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=3",
        "",
    ]
    return "\n".join(lines)


def _text(value: Path | str) -> str:
    """A value of the file: supervisor expands %."""
    return str(value).replace("%", "%%")


def starts_by_itself(text: str) -> bool:
    """Whether a program's text says that it starts with supervisord."""
    return "\nautostart=true\n" in text


def stopping(text: str) -> tuple[str, int]:
    """Signal and seconds to wait that a program's text gives for stopping it; TERM and 5 where it has none."""
    signal = re.search(r"^stopsignal=(\w+)$", text, re.MULTILINE)
    wait = re.search(r"^stopwaitsecs=(\d+)$", text, re.MULTILINE)
    return signal[1] if signal else "TERM", int(wait[1]) if wait else 5
