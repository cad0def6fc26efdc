"""The generated table of sessions is what the calendar library says today."""

import importlib.util
import sys
import warnings
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools/make_sessions.py"


def test_the_table_in_the_repository_is_the_one_the_tool_makes():
    spec = importlib.util.spec_from_file_location("make_sessions", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, inside the calendar library
        spec.loader.exec_module(tool)
        made = tool.table()
    assert tool.TABLE.read_text(encoding="ascii") == made, f"run {sys.executable} {TOOL}"
