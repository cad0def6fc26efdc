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
  fleet:
    description: What a host of a fleet must offer besides; left out where supervisord runs the instances.
    type: dict
    suboptions:
      address:
        description: Address under which the other hosts reach this one; it must be one of its own.
        type: str
        required: true
      share_source:
        description: NFS export that is to be mounted at O(share); empty where something else provides the folder.
        type: str
        default: ""
      database:
        description: PostgreSQL server that must answer this host; left out where it is still to be installed.
        type: dict
        suboptions:
          address:
            description: Its address.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            required: true
          sslmode:
            description: As libpq's; with V(require) and more a server without TLS is refused.
            type: str
            default: prefer
      peers:
        description: What services of this host ask on other hosts. These must answer, be it that nothing listens yet.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name for refusals.
            type: str
            required: true
          address:
            description: Address of the host.
            type: str
            required: true
          port:
            description: Port of the service.
            type: int
            required: true
      abi:
        description: ABI of the Python that releases are built for, such as V(cp311).
        type: str
      platform:
        description: Their platform, such as V(linux_x86_64).
        type: str
      cuda:
        description: Whether an NVIDIA driver must be there.
        type: bool
        default: false
  host:
    description: What M(caelum_host) is to make of the host, as it takes it; left out where nothing is to be made of it.
    type: dict
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
made:
  description: Whether the host is already what M(caelum_host) would make of it; null without O(host).
  returned: success
  type: bool
  sample: true
clock:
  description: Seconds since 1970 by the host's own clock.
  returned: success
  type: float
  sample: 1767387600.25
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
