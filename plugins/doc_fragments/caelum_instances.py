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
      credential_files:
        description:
          - File name to path on this host, such as a key on the share; one that is there becomes one of
            O(instances[].credentials). Refused when others than its owner may read it.
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
        description:
          - A V(job) has settings, credentials and a slot, but no supervised process. With O(runtime=systemd) it has a
            unit, which O(instances[].timer) starts, or an operator.
        type: str
        choices: [service, job]
        default: service
      priority:
        description: Lower numbers start earlier and stop later.
        type: int
        default: 500
      unit:
        description:
          - Name of its unit of systemd, without C(.service); by default that of the instance. This and the options
            below are for O(runtime=systemd) alone.
        type: str
      group:
        description:
          - Unit with which operators start and stop it together with others, such as V(senvec.target). One that ends
            in C(.service) has no process of its own, so that V(fincoll.service) stands for V(fincoll@stable).
        type: str
      slice:
        description: Slice that its processes are in, such as V(caelum-senvec.slice); instances may share one.
        type: str
      memory_max:
        description: Memory above which its processes are killed, as in V(1G); the slice's where there is one.
        type: str
      cpu_quota:
        description: Share of one processor that it may take, as in V(150%).
        type: str
      tasks_max:
        description: Threads and processes that it may have.
        type: int
      nice:
        description: Niceness of its processes.
        type: int
      writable:
        description: Absolute paths that it may write besides its service's state directory.
        type: list
        elements: str
        default: []
      devices:
        description:
          - Devices that it may use, such as V(/dev/nvidia0). A V(*) stands for all of drivers with such a name, so
            V(/dev/nvidia*) is what systemd calls C(char-nvidia*).
        type: list
        elements: str
        default: []
      privileged:
        description: Run it as root, without a right of root's but to ask systemd for units; it has no user then.
        type: bool
        default: false
      socket:
        description:
          - Whether systemd listens on O(instances[].port) and hands the socket over, so that callers wait while the
            process restarts. By default it does where there is a port.
        type: bool
      timer:
        description: When a job runs.
        type: dict
        suboptions:
          calendar:
            description: Point in time in systemd's words, such as V(Mon..Fri 18:00 America/New_York).
            type: str
            required: true
          persistent:
            description: Whether a run that was missed, because the host was down, is made up for.
            type: bool
            default: true
          randomized_delay:
            description: Span of time by which a run is put off at random, as in V(10min).
            type: str
          runtime_max:
            description: Span of time after which a run is ended.
            type: str
"""
