#!/usr/bin/python
"""Files, programs and states of a host's instances, applied as one plan."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.instance import host
from ansible.module_utils.caelum.instance.accounts import account
from ansible.module_utils.caelum.instance.instances import parse
from ansible.module_utils.caelum.instance.layout import Layout
from ansible.module_utils.caelum.instance.native import Native
from ansible.module_utils.caelum.instance.planning import Asked, Host, Plan, plan_present, plan_stopped, wanted
from ansible.module_utils.caelum.instance.purge import plan_purge
from ansible.module_utils.caelum.instance.runtime import Runtime, RuntimeState
from ansible.module_utils.caelum.instance.tree import Directory

DOCUMENTATION = r"""
module: caelum_instance
short_description: Apply the instances of services on a host as one plan
description:
  - Writes env files and credentials, switches slots, defines programs in the runtime, and starts, restarts, stops and
    removes instances so that the host runs exactly what is listed for the services in O(services).
  - Looks at the host first, refuses what cannot work before anything changes, and touches only what differs. Check mode
    and diff show the plan that would be applied.
  - An instance is restarted when its program, env file, credentials or release changed, or when its process runs with
    older settings or another release than it should. One that has ended is started. Others are left alone.
  - When the supervising daemon was killed, the next run ends the processes that it left behind and starts it again.
options:
  state:
    description:
      - V(present) applies O(instances).
      - V(stopped) stops all instances under O(prefix), those of the highest O(instances[].priority) first, then the
        daemon. Files stay, so V(present) brings everything back.
      - V(absent) does the same and removes env files, credentials, slots, programs, logs and the daemon's files.
        Releases and state directories are not touched, unless O(purge) is given.
    type: str
    choices: [present, stopped, absent]
    default: present
  prefix:
    description: Folder under which everything of this deployment is.
    type: path
    required: true
  purge:
    description:
      - With O(state=absent), remove all of the deployment after it is stopped, releases, secrets and data included.
        These are C(etc/caelum), C(etc/supervisor), C(opt/caelum), C(var/lib/caelum), C(var/log/caelum),
        C(var/cache/caelum) and the daemon's files under O(prefix), then the folders that this leaves empty, O(prefix)
        itself among them.
      - Nothing is done when O(prefix) is gone. Refused, before anything changes, for C(/), for a home directory, and
        for a folder with neither C(opt/caelum) nor C(etc/caelum) in it.
    type: bool
    default: false
  purge_also:
    description:
      - Paths that O(purge) removes too, such as the share, absolute or relative to O(prefix).
      - Those that do not lie below O(prefix) belong to others as well and are left alone.
    type: list
    elements: str
    default: []
  releases_follow:
    description:
      - In check mode, take releases that are not complete on this host, and users that do not exist, as made by earlier
        tasks of the same run, which made nothing because it is a check. The plan then shows the switch.
      - Without check mode it has no effect, and what is missing is refused.
    type: bool
    default: false
  runtime:
    description: What supervises the instances. V(native) is one supervisord per prefix, without root or systemd.
    type: str
    choices: [native]
    default: native
  services:
    description:
      - Scope of pruning. Instances of these services that the host has and O(instances) does not list are stopped and
        removed. Instances of other services are not looked at.
    type: list
    elements: str
    default: []
  directories:
    description: Directories to make, parents included, before anything else.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute, or relative to O(prefix).
        type: str
        required: true
      mode:
        description: Permissions in octal, quoted.
        type: str
        default: '0755'
      owner:
        description: User to whom it belongs, with that user's primary group. Only as root.
        type: str
  instances:
    description: All instances of O(services) on this host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Component and slot, as in V(fincoll@stable).
        type: str
        required: true
      service:
        description: Service to which the component belongs.
        type: str
        required: true
      component:
        description: The part of O(instances[].name) before the @; it may be left out, and is checked otherwise.
        type: str
      slot:
        description: The part of O(instances[].name) behind the @; it may be left out, and is checked otherwise.
        type: str
      release:
        description:
          - Version to which the slot shall point. It must be complete on the host, see M(caelum_release) and
            O(releases_follow).
        type: str
        required: true
      command:
        description:
          - Arguments of the process. V({python}) becomes the release's C(bin/python), V({release}) its folder, resolved
            once at the start, so that a running process keeps its own release's code after a switch.
          - Required unless O(instances[].kind=job).
        type: list
        elements: str
      environment:
        description:
          - Settings, written to C(etc/caelum/<name>.env) with permissions 0640; the process finds the file's path in
            E(CAELUM_ENV_FILE). Lists and dicts are written as JSON.
        type: dict
        default: {}
      credentials:
        description:
          - File name to content. Written to C(etc/caelum/credentials/<name>/) with permissions 0600; the process finds
            the folder's path in E(CREDENTIALS_DIRECTORY). Never shown.
        type: dict
        default: {}
      address:
        description: Address that the instance listens on.
        type: str
        default: 127.0.0.1
      port:
        description: Port that the instance listens on. Refused before anything changes when another process has it.
        type: int
      port_variable:
        description: Variable of the inventory that sets the port, for refusals.
        type: str
      user:
        description: System user that the process runs as. Only as root; by default it runs as the caller.
        type: str
      stop_signal:
        description: Signal that asks the process to end.
        type: str
        choices: [TERM, INT, QUIT, HUP, USR1, USR2]
        default: TERM
      stop_wait:
        description: Seconds after which it is killed.
        type: int
        default: 5
      state:
        description: Whether its process runs.
        type: str
        choices: [started, stopped]
        default: started
      kind:
        description: A V(job) has settings, credentials and a slot, but no supervised process.
        type: str
        choices: [service, job]
        default: service
      priority:
        description: Lower numbers start earlier and stop later.
        type: int
        default: 500
notes:
  - Runs with the Python of the controller's environment, which has the package supervisor.
requirements: [supervisor]
author: [Caelum]
"""

EXAMPLES = r"""
- name: Apply the instances of FinColl
  caelum_instance:
    prefix: "{{ caelum_prefix }}"
    services: [fincoll]
    directories:
      - {path: var/lib/caelum/fincoll, mode: '0750'}
    instances:
      - name: fincoll@stable
        service: fincoll
        release: v1.1.0
        command: ['{python}', -m, fincoll.server]
        environment: {CAELUM_COMPONENT: fincoll, CAELUM_SLOT: stable, FINCOLL_PORT: 8001}
        port: 8001
        port_variable: fincoll_port

- name: Stop everything of this checkout
  caelum_instance:
    prefix: "{{ caelum_prefix }}"
    state: stopped

- name: Remove it with all data
  caelum_instance:
    prefix: "{{ caelum_prefix }}"
    state: absent
    purge: true
    purge_also: ["{{ caelum_share }}"]
"""

RETURN = r"""
steps:
  description: What was done, or in check mode would be done, in order.
  returned: success
  type: list
  elements: str
  sample:
    - write /opt/caelum-1f2e3d4c/etc/caelum/fincoll@stable.env
    - apply fincoll@stable (environment, restart)
uid:
  description: Id of the user that the module ran as; 0 means that instances can run as users of their own.
  returned: success
  type: int
  sample: 0
instances:
  description: The instances listed, and those that were removed or stopped.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Component and slot.
      type: str
      sample: fincoll@stable
    changes:
      description: What changed and why the process was touched; empty when nothing was.
      type: list
      elements: str
      sample: [release v1.0.0 -> v1.1.0, restart]
    state:
      description: The runtime's word for the process's state after the last step, or now if there was none.
      type: str
      sample: running
    pid:
      description: Id of the process, when it runs.
      type: int
      sample: 4242
    exit_status:
      description: How the process ended, when it did by itself. 78 means that it cannot start, and its log says why.
      type: int
      sample: 78
    log:
      description: Path of the log of an instance that the runtime knows.
      type: str
      sample: /opt/caelum-1f2e3d4c/var/log/caelum/fincoll@stable.log
"""

INSTANCE = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "component": {"type": "str"},
    "slot": {"type": "str"},
    "release": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str"},
    "environment": {"type": "dict", "default": {}},
    "credentials": {"type": "dict", "default": {}, "no_log": True},
    "address": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int"},
    "port_variable": {"type": "str"},
    "user": {"type": "str"},
    "stop_signal": {"type": "str", "choices": ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"], "default": "TERM"},
    "stop_wait": {"type": "int", "default": 5},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    "kind": {"type": "str", "choices": ["service", "job"], "default": "service"},
    "priority": {"type": "int", "default": 500},
}
DIRECTORY = {
    "path": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str"},
}
SPEC = {
    "state": {"type": "str", "choices": ["present", "stopped", "absent"], "default": "present"},
    "prefix": {"type": "path", "required": True},
    "purge": {"type": "bool", "default": False},
    "purge_also": {"type": "list", "elements": "str", "default": []},
    "releases_follow": {"type": "bool", "default": False},
    "runtime": {"type": "str", "choices": ["native"], "default": "native"},
    "services": {"type": "list", "elements": "str", "default": []},
    "directories": {"type": "list", "elements": "dict", "options": DIRECTORY, "default": []},
    "instances": {"type": "list", "elements": "dict", "options": INSTANCE, "default": []},
}
RUNTIMES = {"native": Native}


Planned = tuple[Plan, RuntimeState, list[str]]
"""What is to be done, the processes that it was planned from, and the names of the instances listed."""


def plan_for(params: dict[str, Any], layout: Layout, runtime: Runtime, *, check_mode: bool) -> Planned:
    """The plan for `state`; Refused when it cannot be meant or cannot work."""
    if params["purge_also"] and not params["purge"]:
        raise Refused("purge_also goes with purge: true; add it, or leave purge_also out")
    if params["purge"] and params["state"] != "absent":
        raise Refused(f"purge removes all of the prefix, state={params['state']} keeps it; give state: absent")
    if params["state"] == "present":
        return _plan_present(params, layout, runtime, follow=check_mode and params["releases_follow"])
    if params["services"] or params["instances"] or params["directories"]:
        raise Refused(f"state={params['state']} concerns all of the prefix; leave out services, instances, directories")
    going = plan_purge(layout, runtime, params["purge_also"]) if params["purge"] else None
    state = runtime.observe(insist=False)
    if params["state"] == "stopped":
        return plan_stopped(Host(state), runtime.daemon), state, []
    instances, more = host.everything(layout, runtime)
    plan = plan_stopped(Host(state, present=instances), runtime.daemon, more)
    if going is not None:
        plan = replace(plan, remove=(*going.trees, *going.files, *going.folders), trees=frozenset(going.trees))
    return plan, state, []


def _plan_present(params: dict[str, Any], layout: Layout, runtime: Runtime, *, follow: bool) -> Planned:
    runtime.refuse_impossible()
    instances = parse(params["instances"], params["services"], users_follow=follow)
    listed = (_directory(item, layout.prefix, follow) for item in params["directories"])
    asked = Asked(
        items=tuple(wanted(instance, layout, runtime, host.build(layout, instance)) for instance in instances),
        directories=(*layout.directories(), *runtime.directories(), *listed),
        shared=runtime.shared_files(),
        services=tuple(params["services"]),
    )
    seen = host.observe(layout, runtime, asked, releases_follow=follow)
    plan = plan_present(asked, seen, runtime.daemon)
    more = host.refuse_impossible(plan, asked.items, layout, seen.runtime)
    return replace(plan, end=(*plan.end, *more)), seen.runtime, [instance.name for instance in instances]


def _directory(item: dict[str, Any], prefix: Path, owner_follows: bool) -> Directory:
    path = Path(prefix, item["path"])
    try:
        mode = int(item["mode"], 8)
    except ValueError:
        raise Refused(f"directory {path}: mode {item['mode']!r} is not octal; write it quoted, as in '0750'") from None
    if not item["owner"]:
        return Directory(path, mode)
    owner = account(item["owner"], f"directory {path}", follows=owner_follows)
    return Directory(path, mode, owner.uid, owner.gid)


def main() -> None:
    """Plan, and apply unless in check mode."""
    module = AnsibleModule(SPEC, supports_check_mode=True)
    layout = Layout(Path(module.params["prefix"]).absolute())
    runtime = RUNTIMES[module.params["runtime"]](layout)
    try:
        plan, state, names = plan_for(module.params, layout, runtime, check_mode=module.check_mode)
        if plan and not module.check_mode:
            host.apply(plan, runtime)
            state = runtime.observe()
        rows = host.report(plan, state, layout, names)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    except OSError as error:
        module.fail_json(msg=f"{module.params['prefix']}: {error}; see that the caller may write there")
    if plan.trees and layout.prefix not in plan.remove:
        module.warn(f"{layout.prefix} stays: it holds more than the deployment made, or its name cannot be removed")
    module.exit_json(changed=bool(plan), steps=plan.steps(), diff=plan.diff(), instances=rows, uid=os.geteuid())


if __name__ == "__main__":
    main()
