#!/usr/bin/python
"""Whether a host can take a deployment, asked before anything is built or changed."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.preflight import host

DOCUMENTATION = r"""
module: caelum_preflight
short_description: Refuse a host that cannot take a deployment
description:
  - Looks at folders, free space and ports of a host, before anything is built or changed. Fails with one line that
    says what is in the way, where it is, and which variable or command mends it.
  - A port that an instance of this deployment holds already is no obstacle.
  - Changes nothing.
options:
  prefix:
    description: Folder under which everything of this deployment is or will be.
    type: path
    required: true
  share:
    description: Folder that all hosts share; by default only O(prefix) is looked at.
    type: path
  free_mib:
    description: Space that must be free under O(prefix) and under O(share), in MiB; 0 asks for none.
    type: int
    default: 2048
  ports:
    description: Instances of the run that listen, as the filter P(caelum_ports#filter) gives them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Instance, as in V(fincoll@stable).
        type: str
        required: true
      service:
        description:
          - Service to which it belongs. A port held by another instance of one of the services listed is left to the
            plan of M(caelum_instance).
        type: str
        required: true
      address:
        description: Address to listen on.
        type: str
        default: 127.0.0.1
      port:
        description: Port to listen on.
        type: int
        required: true
      variable:
        description: Variable of the inventory that sets the port, for refusals.
        type: str
attributes:
  check_mode:
    support: full
    description: It reads only.
author: [Caelum]
"""

EXAMPLES = r"""
- name: Look at ports, space and folders
  caelum_preflight:
    prefix: "{{ caelum_prefix }}"
    share: "{{ caelum_share }}"
    free_mib: 2048
    ports:
      - {name: fincoll@stable, service: fincoll, address: 127.0.0.1, port: 8001, variable: fincoll_port}
"""

RETURN = r"""
free_mib:
  description: Free space under each folder, in MiB.
  returned: success
  type: dict
  sample: {/opt/caelum-1f2e3d4c: 71680}
held:
  description: Instances of this deployment that hold their port already, with their process ids.
  returned: success
  type: dict
  sample: {fincoll@stable: 4242}
"""


def main() -> None:
    """Look, and say what was found or what is in the way."""
    module = AnsibleModule(host.SPEC, supports_check_mode=True)
    try:
        result = host.look(module.params)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
