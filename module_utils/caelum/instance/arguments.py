"""Options of `caelum_instance`, and which of them go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Refused
from .native import Native
from .systemd import Systemd
from .unit_options import UNIT_OPTIONS

Params = Mapping[str, Any]

INSTANCE = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "component": {"type": "str"},
    "slot": {"type": "str"},
    "release": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str"},
    "environment": {"type": "dict", "default": {}},
    "credentials": {"type": "dict", "default": {}, "no_log": True},
    "credential_files": {"type": "dict", "default": {}, "no_log": False},
    "address": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int"},
    "port_variable": {"type": "str"},
    "user": {"type": "str"},
    "stop_signal": {"type": "str", "choices": ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"], "default": "TERM"},
    "stop_wait": {"type": "int", "default": 5},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    "kind": {"type": "str", "choices": ["service", "job"], "default": "service"},
    "priority": {"type": "int", "default": 500},
    **UNIT_OPTIONS,
}
DIRECTORY = {
    "path": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str"},
}
RECORDED = {
    "version": {"type": "str", "required": True},
    "action": {"type": "str", "default": "deploy"},
    "run": {"type": "str"},
    "inventory": {"type": "str"},
    "config": {"type": "dict"},
    "tokens": {"type": "list", "elements": "dict", "default": [], "no_log": False},
    "model": {"type": "dict"},
}
SPEC = {
    "state": {"type": "str", "choices": ["present", "stopped", "absent"], "default": "present"},
    "prefix": {"type": "path", "required": True},
    "purge": {"type": "bool", "default": False},
    "purge_also": {"type": "list", "elements": "str", "default": []},
    "releases_follow": {"type": "bool", "default": False},
    "runtime": {"type": "str", "choices": ["native", "systemd"], "default": "native"},
    "services": {"type": "list", "elements": "str", "default": []},
    "directories": {"type": "list", "elements": "dict", "options": DIRECTORY, "default": []},
    "instances": {"type": "list", "elements": "dict", "options": INSTANCE, "default": []},
    "revision": {"type": "str", "choices": ["current", "previous", "rollback"]},
    "keep_others": {"type": "bool", "default": False},
    "fencing_token": {"type": "int", "no_log": False},
    "recorded": {"type": "dict", "options": RECORDED},
}
RUNTIMES: dict[str, type[Native | Systemd]] = {"native": Native, "systemd": Systemd}


def refuse_odd(params: Params, *, check: bool) -> None:
    """Refused when options are given that do not go together."""
    if params["purge_also"] and not params["purge"]:
        raise Refused("purge_also goes with purge: true; add it, or leave purge_also out")
    if params["purge"] and params["state"] != "absent":
        raise Refused(f"purge removes all of the prefix, state={params['state']} keeps it; give state: absent")
    if params["state"] == "present":
        _refuse_odd_record(params, check=check)
        return
    if params["services"] or params["instances"] or params["directories"]:
        raise Refused(f"state={params['state']} concerns all of the prefix; leave out services, instances, directories")
    given = [
        name for name in ("revision", "keep_others", "fencing_token", "recorded") if params[name] not in (None, False)
    ]
    if given:
        raise Refused(f"state={params['state']} records nothing; leave out {', '.join(given)}")


def _refuse_odd_record(params: Params, *, check: bool) -> None:
    which, recorded, token = params["revision"], params["recorded"], params["fencing_token"]
    if (which or recorded) and len(params["services"]) != 1:
        what = f"revision={which}" if which else "recorded"
        raise Refused(f"{what} is about one service; name exactly one in services")
    if which and (params["instances"] or recorded or params["keep_others"]):
        raise Refused(f"revision={which} says what is applied; leave out instances, keep_others and recorded")
    if token is not None and not (which or recorded):
        raise Refused("fencing_token marks what is applied as pending; add recorded, or revision, or leave it out")
    if token is not None and token < 0:
        raise Refused(f"fencing_token is {token}; give the one that caelum_deployment returned")
    if check:
        return
    if recorded and token is None:
        raise Refused("recorded needs fencing_token; give the one that caelum_deployment returned")
    if which in {"previous", "rollback"} and token is None:
        raise Refused(f"revision={which} needs fencing_token; give the one that caelum_deployment returned")
