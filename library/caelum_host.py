#!/usr/bin/python
"""Makes a host of a fleet what it must be before it gets instances."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.host.transaction import SPEC, transact

DOCUMENTATION = r"""
module: caelum_host
short_description: Make a fleet host ready for its services
description:
  - System users, folders, the mount of the share, the journal's limit and the time service, as one transaction. It
    looks first, plans, and applies; check mode and the diff are the plan.
  - Installs nothing. What is missing is refused with one line that says what to install.
  - Only as root, under systemd.
options:
  prefix:
    description: Folder to which relative paths in O(directories) belong.
    type: path
    default: /
  users:
    description: Users that services run as, of the system, without login and home.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the user and of its group.
        type: str
        required: true
      uid:
        description: Number of the user and of its group, the same on every host, since the share knows users by number.
        type: int
  directories:
    description: Folders to make, parents included.
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
        description: User to whom it belongs, with that user's primary group; one of O(users) may still be to be made.
        type: str
  share:
    description: The folder that all hosts share.
    type: dict
    suboptions:
      path:
        description: Where it is on this host.
        type: path
        required: true
      source:
        description: What is mounted there, such as V(nas:/export/caelum); empty where something else provides it.
        type: str
        default: ""
      type:
        description: Type of the file system.
        type: str
        default: nfs
      options:
        description: Mount options; V(_netdev) is added for NFS.
        type: str
        default: ""
      directories:
        description: Folders on the share, made when it is mounted.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Absolute, or relative to O(share.path).
            type: str
            required: true
          mode:
            description: Permissions in octal, quoted.
            type: str
            default: '0755'
          owner:
            description: User to whom it belongs.
            type: str
  journal_max:
    description: Space that the journal may take, such as V(1G); empty leaves the host's own limit.
    type: str
    default: ""
  time_service:
    description: Whether a time service must be there, which is then enabled.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: The plan is made, nothing is changed. Folders of a share that is not mounted yet are not known.
  diff_mode:
    support: full
    description: Every step, files with their content; there is no secret among them.
author: [Caelum]
"""

EXAMPLES = r"""
- name: Make the host ready for SenVec
  caelum_host:
    users:
      - {name: caelum-senvec, uid: 881}
    directories:
      - {path: var/lib/caelum/senvec, mode: "0750", owner: caelum-senvec}
    share: {path: /home/rford/caelum/ss, source: "nas:/export/caelum", options: "soft,timeo=50,retrans=2"}
    journal_max: 1G
"""

RETURN = r"""
steps:
  description: What was changed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: ["user caelum-senvec: of the system, no login, no home, number 881"]
clock:
  description: The time service and whether the kernel calls the clock synchronised.
  returned: success
  type: dict
  sample: {service: chrony.service, synchronised: true}
"""


def main() -> None:
    """Plan, and apply unless in check mode."""
    module = AnsibleModule(SPEC, supports_check_mode=True)
    try:
        outcome = transact(module.params, check=module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(**outcome.result())


if __name__ == "__main__":
    main()
