"""Lets tests import `ansible.module_utils.caelum.…` as the modules do when Ansible has bundled them."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parents[2]

_FOLDER = str(ROOT / "module_utils")
if _FOLDER not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_FOLDER)
