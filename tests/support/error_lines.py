"""Every text that the code can say, with `…` where a value comes in, so that a quoted error line can be looked up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ("library", "module_utils", "plugins", "services/*/src", "tools")
PLAYS = ("roles", "playbooks")


def said(quote: str) -> bool:
    """Whether some text of the code contains the quote, its `…` standing where that text has a value."""
    return any(quote in text for text in texts())


@cache
def texts() -> tuple[str, ...]:
    """All texts, white space as single blanks."""
    found = (*_python(), *_plays(), *_shell())
    return tuple(" ".join(text.split()) for text in found)


def _python() -> Iterator[str]:
    for pattern in PYTHON:
        for path in (file for folder in ROOT.glob(pattern) for file in folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(_part(value) for value in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def _part(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else "…"


def _plays() -> Iterator[str]:
    for pattern in PLAYS:
        for path in (ROOT / pattern).rglob("*.yml"):
            for text in _strings(yaml.safe_load(path.read_text())):
                yield re.sub(r"\{\{.*?\}\}", "…", text, flags=re.DOTALL)


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)


def _shell() -> Iterator[str]:
    for path in (*ROOT.glob("tools/*.sh"), *ROOT.glob("services/*/*.sh"), ROOT / "Makefile"):
        for line in path.read_text().splitlines():
            yield re.sub(r"\$\([^)]*\)|\$\{[^}]*\}|\$\w+|\$[*@]", "…", line)
