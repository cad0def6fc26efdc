#!/usr/bin/python
"""Files, programs and states of a host's instances, applied as one plan."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.host.credentials import resolved
from ansible.module_utils.caelum.instance import host
from ansible.module_utils.caelum.instance.arguments import RUNTIMES, SPEC
from ansible.module_utils.caelum.instance.layout import Layout
from ansible.module_utils.caelum.instance.request import run
from ansible.module_utils.caelum.instance.revisions import Revisions

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
  - Can write down on the host what it applies, so that the host can return to it without a database.
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
    description:
      - What supervises the instances. V(native) is one supervisord per prefix, without root or systemd.
      - V(systemd) has units of the host's systemd, with O(prefix=/) and as root. They start at boot; ports stay open
        while processes restart; processes run in a sandbox. C(state=stopped) lasts until the next boot.
    type: str
    choices: [native, systemd]
    default: native
  services:
    description:
      - Scope of pruning. Instances of these services that the host has and O(instances) does not list are stopped and
        removed. Instances of other services are not looked at.
    type: list
    elements: str
    default: []
  revision:
    description:
      - Apply a release that was recorded on this host, for the one service in O(services). O(instances) is left out.
      - V(current) is the last release that was committed, see M(caelum_revision). Check mode shows how the host differs
        from it.
      - V(previous) is the one that the host had before that.
      - V(rollback) is V(current) when a deployment ended half way on this host, and V(previous) otherwise.
    type: str
    choices: [current, previous, rollback]
  keep_others:
    description:
      - Keep the instances of O(services) that the current revision has and O(instances) does not list, as that revision
        has them. They are part of what is applied and recorded.
      - Refused when the host has such instances and no revision says how they are to be.
    type: bool
    default: false
  fencing_token:
    description:
      - Key of this deployment, as M(caelum_deployment) gave it. It goes with O(recorded) or O(revision).
      - The host's lock is taken, a token lower than one that was here is refused, and what is applied is written down
        as pending before the first step. It stays so until M(caelum_revision) commits or discards it.
      - Check mode only looks whether the token is refused.
    type: int
  recorded:
    description:
      - What is written down beside O(instances), for a later return to this release. One service at a time; needs
        O(fencing_token).
    type: dict
    suboptions:
      version:
        description: Version of the service.
        type: str
        required: true
      action:
        description: Kind of change, as in M(caelum_deployment).
        type: str
        default: deploy
      run:
        description: Name of the controller's run, by which services that were changed together are known.
        type: str
      inventory:
        description: Inventory that gives it to the host; another one's runs leave it alone.
        type: str
      config:
        description: What M(caelum_config) gets for this release; no secrets.
        type: dict
      tokens:
        description: Rows of tokens that M(caelum_config) gets for it, hashes and not tokens.
        type: list
        elements: dict
        default: []
      model:
        description: The model that belongs to it, as M(caelum_model) takes it.
        type: dict
notes:
  - The runtime V(native) needs the Python of the controller's environment, which has the package supervisor.
extends_documentation_fragment: caelum_instances
requirements: ["supervisor, for the runtime native"]
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

- name: Apply and record them, to be committed once they are ready
  caelum_instance:
    prefix: "{{ caelum_prefix }}"
    services: [fincoll]
    instances: "{{ fincoll_instances }}"
    fencing_token: "{{ deployment.fencing_token }}"
    recorded: {version: v1.1.0}

- name: Return to the release before
  caelum_instance:
    prefix: "{{ caelum_prefix }}"
    services: [fincoll]
    revision: rollback
    fencing_token: "{{ deployment.fencing_token }}"

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
revision:
  description:
    - What was applied of O(recorded) or O(revision), also in check mode; null without these.
    - Its instances have neither settings nor credentials. It has no number before it is committed.
  returned: success
  type: dict
  sample:
    number: 3
    version: v1.1.0
    action: deploy
    at: '2025-03-01T09:30:00.000+00:00'
    run:
    config: {service: fincoll, version: v1.1.0}
    tokens: []
    model:
    instances:
      - name: fincoll@stable
        component: fincoll
        slot: stable
        service: fincoll
        release: v1.1.0
        address: 127.0.0.1
        port: 8001
        kind: service
        state: started
records:
  description:
    - By service in O(services), what the host recorded. C(version) is what it was last verified with, and C(pending)
      what was begun and not finished; null where there is none. C(inventory) gave it to the host.
  returned: success
  type: dict
  sample: {fincoll: {version: v1.1.0, pending: null, inventory: production}}
services:
  description: The scope, as it was given.
  returned: success
  type: list
  elements: str
  sample: [fincoll]
fence:
  description: Highest fencing token that the host has seen for the one service in O(services), 0 for none.
  returned: when O(revision) or O(fencing_token) is given
  type: int
  sample: 12
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
    release:
      description: Its version; left out for one that went.
      type: str
      sample: v1.1.0
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
      description: Path of the log of an instance that the runtime V(native) knows.
      type: str
      sample: /opt/caelum-1f2e3d4c/var/log/caelum/fincoll@stable.log
    unit:
      description: Unit of an instance that the runtime V(systemd) knows; its log is in the journal.
      type: str
      sample: fincoll@stable.service
"""


def _records(services: Iterable[str], prefix: Path) -> dict[str, dict[str, str | None]]:
    """What the host says that it has, and whether it stands half way."""
    found = {}
    for service in services:
        revisions = Revisions(prefix, service)
        current, pending = revisions.current(), revisions.pending()
        found[service] = {
            "version": current.version if current else None,
            "pending": pending.version if pending else None,
            "inventory": known.inventory if (known := current or pending) else None,
        }
    return found


def main() -> None:
    """Plan, and apply unless in check mode."""
    module = AnsibleModule(SPEC, supports_check_mode=True)
    params = dict(module.params)
    layout = Layout(Path(params["prefix"]).absolute())
    runtime = RUNTIMES[params["runtime"]](layout)
    try:
        params["instances"] = resolved(params["instances"])
        module.no_log_values.update(text for item in params["instances"] for text in item["credentials"].values())
        outcome = run(params, layout, runtime, check=module.check_mode)
        module.no_log_values.update(outcome.secrets)
        rows = host.report(outcome.plan, outcome.state, runtime, outcome.releases)
        records = _records(params["services"], layout.prefix)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    except OSError as error:
        module.fail_json(msg=f"{params['prefix']}: {error}; see that the caller may write there")
    plan = outcome.plan
    if params["purge"] and plan and layout.prefix not in plan.remove:
        module.warn(f"{layout.prefix} stays: it holds more than the deployment made, or its name cannot be removed")
    told: dict[str, object] = {"services": params["services"], "records": records}
    told |= {"revision": outcome.revision.shown() if outcome.revision else None}
    told |= {"fence": outcome.fence} if outcome.fence is not None else {}
    module.exit_json(changed=bool(plan), steps=plan.steps(), diff=plan.diff(), instances=rows, uid=os.geteuid(), **told)


if __name__ == "__main__":
    main()
