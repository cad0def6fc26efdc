#!/usr/bin/python
"""The releases that a host recorded: what is pending becomes current or is forgotten, and what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.instance.revisions import Revisions

DOCUMENTATION = r"""
module: caelum_revision
short_description: Commit, discard or list what a host recorded of its releases
description:
  - M(caelum_instance) writes down what it applies with O(fencing_token) as pending, so that the host is known to be
    half way until this module commits or discards it. A commit is what a rollback returns to.
  - The records are in C(var/lib/caelum/revisions/<service>) under O(prefix), closed to all but their owner, since they
    hold credentials and say what runs. They need no database.
options:
  state:
    description:
      - V(committed) makes what was begun with O(fencing_token) the current revision. A return to an earlier revision
        makes that one current. What equals the current revision makes no new one, and what is committed stays so.
      - V(discarded) forgets what is pending, whoever began it, once the host has the current revision again.
      - V(listed) reads.
    type: str
    choices: [committed, discarded, listed]
    required: true
  prefix:
    description: Folder under which everything of this deployment is.
    type: path
    required: true
  service:
    description: The service whose records are meant.
    type: str
  services:
    description: The services to list; O(service) may be given in its place.
    type: list
    elements: str
    default: []
  fencing_token:
    description:
      - Key of the deployment, as M(caelum_deployment) gave it. Refused when a higher one was on this host.
      - Needed by V(committed) and V(discarded).
    type: int
attributes:
  check_mode:
    description: Only says what it would do, and refuses a token that is too low.
    support: full
author: [Caelum]
"""

EXAMPLES = r"""
- name: Make the release what a rollback returns to
  caelum_revision:
    state: committed
    prefix: "{{ caelum_prefix }}"
    service: fincoll
    fencing_token: "{{ deployment.fencing_token }}"

- name: See what the host has
  caelum_revision:
    state: listed
    prefix: "{{ caelum_prefix }}"
    services: [senvec, fincoll]
"""

RETURN = r"""
revision:
  description: The current revision after the call, as M(caelum_instance) returns it; null where there is none.
  returned: for C(committed) and C(discarded)
  type: dict
  sample: {number: 3, version: v1.1.0, action: deploy, at: '2025-03-01T09:30:00.000+00:00', instances: []}
can_return:
  description: Whether a new revision was made that has one before it, so that a rollback undoes just this.
  returned: for C(committed) and C(discarded)
  type: bool
  sample: true
services:
  description: By service, what the host recorded.
  returned: for C(listed)
  type: dict
  contains:
    current:
      description: The last release that was verified, as M(caelum_instance) returns it; null before the first.
      type: dict
    previous:
      description: The one that a rollback goes to, in the same form; null when there is none.
      type: dict
    pending:
      description: What was begun and neither committed nor discarded, in the same form; null when nothing was.
      type: dict
    fence:
      description: Highest fencing token seen, 0 for none.
      type: int
    committed:
      description: Token of the deployment that made it current last, 0 while something is pending.
      type: int
    brought:
      description: The same where that deployment brought it as well, so that a rollback undoes just this; else 0.
      type: int
    revisions:
      description: All that are kept, the newest first.
      type: list
      elements: dict
      sample: [{number: 3, version: v1.1.0, action: deploy, at: '2025-03-01T09:30:00.000+00:00', previous: 2}]
"""

SPEC = {
    "state": {"type": "str", "choices": ["committed", "discarded", "listed"], "required": True},
    "prefix": {"type": "path", "required": True},
    "service": {"type": "str"},
    "services": {"type": "list", "elements": "str", "default": []},
    "fencing_token": {"type": "int", "no_log": False},
}
NEEDED = [("state", state, ["service", "fencing_token"]) for state in ("committed", "discarded")]


def settled(params: dict[str, Any], revisions: Revisions, *, check: bool) -> dict[str, Any]:
    """Commit or discard; in check mode only say whether anything would change."""
    token = params["fencing_token"]
    changed, before = revisions.pending() is not None, revisions.current()
    if check:
        revisions.refuse_fenced(token)
    elif params["state"] == "committed":
        revisions.commit(token)
    else:
        revisions.discard(token)
    after = revisions.current()
    made = after is not None and (before is None or after.number > before.number)
    can_return = made and after is not None and after.previous is not None
    return {"changed": changed, "can_return": can_return, "revision": after.shown() if after else None}


def listed(revisions: Revisions) -> dict[str, Any]:
    """What the host recorded of a service."""
    current, previous, pending = revisions.current(), revisions.previous(), revisions.pending()
    committed = current.fencing_token if current and pending is None else 0
    return {
        "current": current.shown() if current else None,
        "previous": previous.shown() if previous else None,
        "pending": pending.shown() if pending else None,
        "fence": revisions.highest_token(),
        "committed": committed,
        "brought": committed if current and current.made == committed else 0,
        "revisions": [
            {key: getattr(one, key) for key in ("number", "version", "action", "at", "previous")}
            for one in revisions.kept()
        ],
    }


def main() -> None:
    """Commit, discard or list."""
    module = AnsibleModule(SPEC, required_if=NEEDED, supports_check_mode=True)
    params = module.params
    prefix = Path(params["prefix"]).absolute()
    try:
        if params["state"] == "listed":
            names = dict.fromkeys([*params["services"], *([params["service"]] if params["service"] else [])])
            result = {"changed": False, "services": {name: listed(Revisions(prefix, name)) for name in names}}
        else:
            result = settled(params, Revisions(prefix, params["service"]), check=module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    except OSError as error:
        module.fail_json(msg=f"{params['prefix']}: {error}; see that the caller may write there")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
