"""Lets tests import `ansible.module_utils.caelum.…` as the modules do when Ansible has bundled them."""

from __future__ import annotations

import sys
from pathlib import Path

_intern = sys.intern

import ansible.module_utils.basic  # noqa: E402

# Ansible replaces sys.intern when it is imported, and torch.export takes only the real one.
sys.intern = _intern

ROOT = Path(__file__).resolve().parents[2]

_FOLDER = str(ROOT / "module_utils")
if _FOLDER not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_FOLDER)
