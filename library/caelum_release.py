#!/usr/bin/python
"""Ansible module: builds, publishes, installs, lists, prunes and verifies releases."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.caelum.errors import Refused
from ansible.module_utils.caelum.release.states import STATES

DOCUMENTATION = r"""
module: caelum_release
short_description: Build, publish, install, list, prune and verify releases of services
version_added: "1.0"
description:
  - A release is one service's code at one version, built once into a signed store and installed unchanged everywhere.
  - V(built) works on the controller. Each release is made from the git tag I(version) or C(<name>/<version>), in dev
    without such a tag from the working tree, and is written to C(<store>/<name>/<version>/) whole or not at all. It
    holds the wheels, C(requirements.txt) with their hashes, C(manifest.json) and an ed25519 signature.
  - A version is immutable. When the store has it with the same content nothing changes; other content is refused.
  - V(published) brings releases from the store of the controller to that of a share, through a host that has it
    mounted. Over SSH each is one stream that is never held in memory; after it arrived, its signature and its hashes
    are checked, and it gets its name by one rename. What an interrupted transfer left, the next one removes.
  - V(installed) works on a host. It verifies signature, hashes, ABI and C library, then makes a relocatable
    virtual environment in C(<prefix>/opt/caelum/<name>/releases/<version>), read-only, by one rename.
  - V(pruned) leaves the newest I(keep) releases of each service, in the store and on the host. Whatever their age, it
    never removes what a slot of the host points to, what the last I(keep) recorded releases of the host run, so that a
    rollback finds them, a version given in I(services), or one in I(protect).
  - V(verified) reads every file of installed releases and says which were edited, are missing or were added. It goes by
    the hashes in the wheels of I(store), or without that in the installed C(RECORD) files, and changes nothing.
  - Long steps show their progress while they run.
options:
  state:
    description: What to make true.
    type: str
    choices: [built, published, installed, listed, pruned, verified]
    required: true
  services:
    description:
      - Releases to build or install, all in one call.
      - For V(pruned), the services to look at, none meaning every one; the versions given with them stay.
      - For V(verified), the releases to look at, none meaning all that are installed.
    type: list
    elements: dict
    default: []
    aliases: [releases]
    suboptions:
      name:
        description: Name of the service.
        type: str
        required: true
      version:
        description: As in v1.2.0, v1.2.0-beta or v1.2.0-rc.1.
        type: str
        required: true
      lock:
        description: Path of the lock file in I(source); for V(built), unless I(variants) are given.
        type: str
      packages:
        description: Folders in I(source) with the service's own packages; none for a third party's service.
        type: list
        elements: str
        default: []
      components:
        description: Components of the service whose own tags, C(<component>/<version>), name the release too.
        type: list
        elements: str
        default: []
      variants:
        description: Lock file of each variant, the preferred first.
        type: dict
      manifest:
        description:
          - The sha256 of the release's manifest as it was built; needed for V(published).
          - For V(installed), a release that is installed with this manifest needs no look at I(store), and one that
            I(store) has with another manifest is refused.
        type: str
        default: ""
      variant:
        description: One of I(variants), or V(auto) for the first whose wheels can be had.
        type: str
        default: ""
  store:
    description: Folder of the built releases. Needed unless V(listed), V(pruned) or V(verified) look at a host alone.
    type: path
  origin:
    description:
      - For V(published), the folder of the built releases on the controller.
      - Where the task connects by SSH the controller reads it, else the module does.
    type: path
  timeout:
    description:
      - For V(published), V(installed) and V(pruned), how many seconds I(store), a share, may be silent. Then the task
        fails and what runs is untouched; 0 waits for ever.
      - With a limit, V(installed) copies a release to the host before it installs it.
    type: int
    default: 0
  may_lack:
    description: For V(installed), name in RV(lacking) what I(store) lacks instead of refusing it.
    type: bool
    default: false
  replace_key:
    description:
      - For V(installed), take I(public_key) though the host goes by another one.
      - A host keeps the first key that it is given as PEM text in C(<prefix>/etc/caelum/keys/release.key.pub).
    type: bool
    default: false
  prefix:
    description: Root of the files on the host; for all states but V(built) and V(published).
    type: path
  source:
    description: Root of the repository to build from.
    type: path
  pool:
    description: Folder on the controller that keeps downloaded wheels for further builds; by default beside the store.
    type: path
  signing_key:
    description: ed25519 private key in PEM form, 0600. Its public half lies beside it with C(.pub) appended.
    type: path
  create_key:
    description: Make the key when it is missing.
    type: bool
    default: false
  environment_name:
    description: Only V(dev) builds without a tag; V(prod) wants tags that C(git verify-tag) accepts.
    type: str
    choices: [dev, test, prod]
    default: dev
  allowed_signers:
    description: SSH allowed_signers file for C(git verify-tag) in prod; by default git's own setting.
    type: path
  rebuild:
    description: Replace a release whose content changed; only where I(environment_name=dev).
    type: bool
    default: false
  may_be_built:
    description:
      - For V(installed) in check mode, where V(built) ran in check mode too and so built nothing. A release that the
        store lacks is then reported as a change, with a warning that it would be installed after it is built, instead
        of refused.
      - Without check mode it has no effect.
    type: bool
    default: false
  uv_lock:
    description: Lock file in I(source) whose uv goes into each release, for hosts without it; missing is no error.
    type: str
    default: locks/controller.txt
  jobs:
    description: How many builds and downloads run side by side.
    type: int
    default: 2
  public_key:
    description: PEM text or path of the public key that signatures are checked with.
    type: str
  python:
    description:
      - Interpreter for the virtual environments; one of a virtual environment stands for the one behind it.
      - By default the one that runs the module.
    type: path
  uv:
    description: The uv program; by default the one beside the module's Python, else the one in the release.
    type: path
  keep:
    description: How many releases of each service V(pruned) leaves.
    type: int
    default: 5
  protect:
    description: Releases that V(pruned) leaves in any case, as C(v1.2.0) or C(pim/v1.2.0).
    type: list
    elements: str
    default: []
  progress:
    description: File to which lines for the user are appended while the module works; shown live on a local connection.
    type: path
attributes:
  check_mode:
    support: full
    description: Says what it would build, install or remove.
  diff_mode:
    support: full
    description: Shows releases before and after.
author: The Caelum project
"""

EXAMPLES = r"""
- name: Build two services
  caelum_release:
    state: built
    source: "{{ playbook_dir }}"
    store: /srv/caelum/releases
    signing_key: /etc/caelum/keys/release.key
    services:
      - name: fincoll
        version: v1.1.0
        lock: locks/fincoll.txt
        packages: [services/common, services/fincoll]
      - name: finvec
        version: v1.1.0
        variants: {cpu: locks/finvec-cpu.txt, cuda: locks/finvec-cuda.txt}
        variant: auto
        packages: [services/common, services/finvec]

- name: Bring a release to the share through this host
  caelum_release:
    state: published
    origin: "{{ release_store }}"
    store: /srv/caelum/ss/releases
    public_key: "{{ lookup('file', '/srv/keys/release.key.pub') }}"
    timeout: 30
    services:
      - name: fincoll
        version: v1.1.0
        manifest: 9a0364b9e99bb480dd25e1f0284c8555a9b1d8a8c8ed3b7a1f0b8b0ad6e5e0ff

- name: Install FinColl
  caelum_release:
    state: installed
    store: /srv/caelum/releases
    prefix: /
    public_key: "{{ lookup('file', '/etc/caelum/keys/release.key.pub') }}"
    services:
      - {name: fincoll, version: v1.1.0}

- name: Ask what is there
  caelum_release:
    state: listed
    store: /srv/caelum/releases
    prefix: /

- name: Hold all installed releases against the store's wheels
  caelum_release:
    state: verified
    store: /srv/caelum/releases
    prefix: /

- name: Keep the last five, and what may be rolled back to
  caelum_release:
    state: pruned
    store: /srv/caelum/releases
    prefix: /
    protect: [fincoll/v1.0.3]

- name: Keep the last five of FinColl alone, and the one that runs
  caelum_release:
    state: pruned
    store: /srv/caelum/releases
    prefix: /
    services:
      - {name: fincoll, version: v1.1.0}
"""

RETURN = r"""
releases:
  description:
    - One entry for each of I(services), in their order.
    - One that check mode would build, or install after it is built, has its name, version and C(changed) only.
    - For V(verified) each has its name, version, path and the relative names of files that are C(edited), C(missing)
      or C(extra), and in C(broken) why it could not be looked at.
  returned: state is built, installed or verified
  type: list
  elements: dict
  sample:
    - service: finvec
      version: v1.1.0
      changed: true
      variant: cpu
      source: worktree
      commit: 2f6cd0e8fd2a2e5b0c7bd0b1f7de1a3a4f0d9c11
      dirty: false
      source_digest: 1bb0d3f5c6bd9b2d3b4d0d5ad5c6a1c7f5e8f3d52c5b0e9c9b8f66f1f2a9d4e7
      manifest_sha256: 9a0364b9e99bb480dd25e1f0284c8555a9b1d8a8c8ed3b7a1f0b8b0ad6e5e0ff
      path: /srv/caelum/releases/finvec/v1.1.0
lacking:
  description:
    - For V(installed), the releases that I(store) lacks, each with its name and version.
    - For V(published), those that are still to be sent, as C(fincoll/v1.1.0).
  returned: state is installed or published
  type: list
  elements: raw
  sample: [{name: fincoll, version: v1.1.0}]
published:
  description: Releases that are new in I(store).
  returned: state is published
  type: list
  elements: str
  sample: [fincoll/v1.1.0]
listing:
  description: Of each service, the complete releases in the store and on the host, the newest first, and the slots.
  returned: state is listed
  type: dict
  sample:
    fincoll: {store: [v1.1.0, v1.0.3], installed: [v1.1.0], slots: {"fincoll@stable": v1.1.0}}
target:
  description: What the Python that runs the module is; releases are built for it.
  returned: state is listed
  type: dict
  sample: {abi: cp311, platform: linux_x86_64, glibc: "2.36"}
findings:
  description: What is not as it was installed, a line each; empty when all is.
  returned: state is verified
  type: list
  elements: str
  sample:
    - >-
      release v1.1.0 of fincoll is not as it was installed: lib/python3.11/site-packages/fincoll/server.py was edited;
      move /opt/caelum/fincoll/releases/v1.1.0 away and deploy v1.1.0 again
removed:
  description: Paths that were removed.
  returned: state is pruned
  type: list
  elements: str
  sample: [/opt/caelum/fincoll/releases/v1.0.2]
used:
  description: Releases of I(services) that a slot of the host points to or that it may be rolled back to.
  returned: state is pruned
  type: list
  elements: str
  sample: [fincoll/v1.1.0]
"""

SERVICE = {
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "lock": {"type": "str"},
    "packages": {"type": "list", "elements": "str", "default": []},
    "components": {"type": "list", "elements": "str", "default": []},
    "variants": {"type": "dict"},
    "manifest": {"type": "str", "default": ""},
    "variant": {"type": "str", "default": ""},
}
SPEC = {
    "state": {
        "type": "str",
        "choices": ["built", "published", "installed", "listed", "pruned", "verified"],
        "required": True,
    },
    "services": {"type": "list", "elements": "dict", "options": SERVICE, "default": [], "aliases": ["releases"]},
    "store": {"type": "path"},
    "origin": {"type": "path"},
    "timeout": {"type": "int", "default": 0},
    "may_lack": {"type": "bool", "default": False},
    "replace_key": {"type": "bool", "default": False, "no_log": False},
    "prefix": {"type": "path"},
    "source": {"type": "path"},
    "pool": {"type": "path"},
    "signing_key": {"type": "path", "no_log": False},
    "create_key": {"type": "bool", "default": False, "no_log": False},
    "environment_name": {"type": "str", "choices": ["dev", "test", "prod"], "default": "dev"},
    "allowed_signers": {"type": "path"},
    "rebuild": {"type": "bool", "default": False},
    "may_be_built": {"type": "bool", "default": False},
    "uv_lock": {"type": "str", "default": "locks/controller.txt"},
    "jobs": {"type": "int", "default": 2},
    "public_key": {"type": "str", "no_log": False},
    "python": {"type": "path"},
    "uv": {"type": "path"},
    "keep": {"type": "int", "default": 5},
    "protect": {"type": "list", "elements": "str", "default": []},
    "progress": {"type": "path"},
}
REQUIRED = [
    ("state", "built", ["services", "store", "source", "signing_key"]),
    ("state", "published", ["services", "store", "public_key"]),
    ("state", "installed", ["services", "store", "prefix", "public_key"]),
    ("state", "listed", ["store", "prefix"], True),
    ("state", "pruned", ["store", "prefix"], True),
    ("state", "verified", ["prefix"]),
]


def main() -> None:
    """Do what `state` says, or end with its one line."""
    module = AnsibleModule(argument_spec=SPEC, required_if=REQUIRED, supports_check_mode=True)
    try:
        result = STATES[module.params["state"]](module.params, module.check_mode)
    except Refused as refusal:
        module.fail_json(msg=str(refusal))
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or 'the file system'}: {error.strerror}; check its owner, mode and space"
        )
    for line in result.pop("warnings", []):
        module.warn(line)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
