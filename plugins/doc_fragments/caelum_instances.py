"""Documentation of the options `directories` and `instances`, whose fields are `instance/arguments.py`."""

from __future__ import annotations


class ModuleDocFragment:
    """What a host is to have."""

    DOCUMENTATION = r"""
options:
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
"""
