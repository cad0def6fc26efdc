#!/usr/bin/python
"""Ansible module: the rows of `service_configs` and `api_tokens`."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.database import configs, lease
from ansible.module_utils.caelum.database.connection import database_argument, transaction
from ansible.module_utils.caelum.errors import Refused

DOCUMENTATION = r"""
module: caelum_config
short_description: Write services' configuration and token hashes into the database
description:
  - One row of C(service_configs) is the truth for a service, version, environment and host. The rows that are given
    are written in one transaction where they differ from what is there; others are left alone.
  - A configuration that holds a secret in the clear is refused, by its keys (password, token, secret, API key) and by
    logins within addresses. Keys that end in C(_file), C(_path), C(_dir), C(_url), C(_sha256), C(_hash), C(_name) or
    C(_ttl_s) only speak about a secret and pass.
author: Caelum
extends_documentation_fragment: caelum_database
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Shows the rows that change, before and after; of a token's hash the first eight digits.
options:
  fencing_token:
    description: Key of the deployment that this belongs to; refused when it is no longer open. Left out, nobody asks.
    type: int
  configs:
    description: Configurations.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: Service that reads it.
        type: str
        required: true
      version:
        description: Version of the service.
        type: str
        required: true
      environment:
        description: Such as C(dev), C(test) or C(prod).
        type: str
        required: true
      host:
        description: Host that it is for; left out, it is for all.
        type: str
        default: ""
      port:
        description: Port that the service listens on.
        type: int
      config:
        description: The configuration, flat keys, no secrets.
        type: dict
        required: true
  tokens:
    description: Service tokens, as hashes. A new hash under a known name rotates the token.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Who holds the token.
        type: str
        required: true
      sha256:
        description: SHA-256 of the token, 64 hexadecimal digits.
        type: str
        required: true
      scopes:
        description: What the token opens.
        type: list
        elements: str
        default: []
"""

EXAMPLES = r"""
- name: Write the configuration that PIM serves
  caelum_config:
    database: "{{ caelum_database_login }}"
    configs:
      - service: fincoll
        version: v1.1.0
        environment: prod
        host: 10.32.3.44
        port: 8001
        config: {port: 8001, senvec_url: "http://10.32.3.27:18000"}
    tokens:
      - {name: operator, sha256: "{{ vault_tokens.operator | hash('sha256') }}", scopes: [deploy]}
"""

RETURN = r"""
rows:
  description: Rows that were written, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [fincoll v1.1.0 prod on 10.32.3.44, token operator]
"""

SPEC: dict[str, Any] = {
    "database": database_argument(),
    "configs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "service": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "environment": {"type": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "port": {"type": "int"},
            "config": {"type": "dict", "required": True},
        },
    },
    "fencing_token": {"type": "int", "no_log": False},
    "tokens": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True, "no_log": True},
            "scopes": {"type": "list", "elements": "str", "default": []},
        },
    },
}


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    wanted = [configs.Config(**row) for row in module.params["configs"]]
    tokens = [configs.Token(t["name"], t["sha256"], tuple(t["scopes"])) for t in module.params["tokens"]]
    try:
        configs.check(wanted, tokens)
        with transaction(module.params["database"]) as cursor:
            if module.params["fencing_token"]:
                lease.refuse_lost(cursor, module.params["fencing_token"])
            plan = configs.plan(wanted, tokens, *configs.observe(cursor, wanted, tokens))
            if not module.check_mode:
                configs.apply(cursor, plan)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(changed=bool(plan), rows=list(plan.after), diff=plan.diff())


if __name__ == "__main__":
    main()
