#!/usr/bin/python
"""Ansible module: a PostgreSQL server of Debian's on this host."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.postgresql import change, cluster
from ansible.module_utils.caelum.postgresql.wanted import Wanted

DOCUMENTATION = r"""
module: caelum_postgresql
short_description: Keep a PostgreSQL server of Debian's on this host
description:
  - Makes the cluster, its settings, who may log in from where, its certificate and its administrator's password, and
    lets it run and start at boot. TLS and SCRAM-SHA-256 alone are let in over the network; over the local socket the
    system's user postgres.
  - Settings are judged by the server's own program before they land. It is reloaded where that is enough, restarted
    where it says so itself, and gets its old files back where it does not take the new ones.
  - A cluster that holds somebody else's databases is refused.
author: Caelum
requirements:
  - root, systemd, openssl
  - Debian's package of the server; where it is missing nothing is done, and I(package) of the result names it
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Shows the files that change and what happens to the server, never a key or a password.
options:
  version:
    description: Major version of PostgreSQL, at least 15.
    type: int
    default: 15
  cluster:
    description: Debian's name of the cluster.
    type: str
    default: main
  port:
    description: Port that it listens on.
    type: int
    default: 15433
  addresses:
    description: Addresses that it listens on besides the loopback; the first is the certificate's.
    type: list
    elements: str
    default: []
  allowed:
    description: Networks that may log in besides the loopback, C(samenet) for those that the server itself is in.
    type: list
    elements: str
    default: []
  database:
    description: The database that the roles may enter.
    type: str
    default: pim_database
  roles:
    description: Roles that may enter it.
    type: list
    elements: str
    default: [pim_owner, pim_user]
  admin:
    description: The superuser.
    type: str
    default: postgres
  password:
    description: Its password, printable ASCII.
    type: str
    required: true
  settings:
    description: Settings of C(postgresql.conf), such as C(shared_buffers).
    type: dict
    default: {}
  certificate:
    description: The server's certificate with its chain, as PEM; left out, the host makes one for itself.
    type: str
    default: ""
  key:
    description: The key of I(certificate), as PEM without a passphrase.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Keep the server
  caelum_postgresql:
    port: 15433
    addresses: [10.32.3.27]
    allowed: [10.32.3.0/24]
    password: "{{ vault_postgresql_admin_password }}"
    settings: {shared_buffers: 32MB, max_connections: 40}
"""

RETURN = r"""
package:
  description: Debian's package that must be installed before this module can do anything; empty where it is there.
  returned: always
  type: str
  sample: postgresql-15
state:
  description:
    - Whether the server could be asked for more before anything was done; C(answers), C(fresh) where there was none of
      ours, or C(silent) where it was stopped or is yet to let the administrator in.
  returned: always
  type: str
  sample: answers
server:
  description: What the server had to do; C(started), C(restarted), C(reloaded), or empty.
  returned: always
  type: str
  sample: reloaded
"""

SPEC: dict[str, Any] = {
    "version": {"type": "int", "default": 15},
    "cluster": {"type": "str", "default": "main"},
    "port": {"type": "int", "default": 15433},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "allowed": {"type": "list", "elements": "str", "default": []},
    "database": {"type": "str", "default": "pim_database"},
    "roles": {"type": "list", "elements": "str", "default": ["pim_owner", "pim_user"]},
    "admin": {"type": "str", "default": "postgres"},
    "password": {"type": "str", "required": True, "no_log": True},
    "settings": {"type": "dict", "default": {}},
    "certificate": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": True},
}
OLDEST = 15


def wanted(params: dict[str, Any]) -> Wanted:
    """The module's options as a value; raises Refused for a server that is too old."""
    if params["version"] < OLDEST:
        raise Refused(f"PostgreSQL {params['version']} is too old; set postgresql_version to {OLDEST} or newer")
    lists = {key: tuple(params[key]) for key in ("addresses", "allowed", "roles")}
    settings = {name: str(value) for name, value in params["settings"].items()}
    return Wanted(**{**params, **lists, "settings": settings})


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    server = state = ""
    try:
        cluster.refuse_unless_root()
        want = wanted(module.params)
        have = cluster.observe(want)
        plan = cluster.plan(want, have)
        state = cluster.state(want, have, plan)
        if plan and not plan.package and not module.check_mode:
            server = change.apply(want, plan)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(
        changed=bool(plan),
        package=plan.package,
        state=state,
        server=server,
        diff={
            side: "".join(f"{line}\n" for line in lines)
            for side, lines in (("before", plan.before), ("after", plan.after))
        },
    )


if __name__ == "__main__":
    main()
