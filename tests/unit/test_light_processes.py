"""Every process imports what it uses: with eleven of them, a library too many costs tens of MB."""

import json
import subprocess
import sys

import pytest

from caelum_common.imports import without

WEB = {"fastapi", "starlette", "uvicorn"}


@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("caelum_common.start", {*WEB, "pydantic", "asyncio"}),
        ("caelum_common.market", {*WEB, "pydantic", "asyncio"}),
        ("senvec.replay", {*WEB, "pydantic", "asyncio", "structlog"}),
        ("senvec.gauges", WEB),  # computed before the web framework is imported, which then fills what they leave
        ("pim.worker", WEB),
        ("pim.web", {"aiohttp", "requests", "watchfiles"}),
    ],
)
def test_a_module_does_not_import_what_its_process_has_no_use_for(module, unused):
    code = f"import {module}, json, sys; print(json.dumps([name for name, found in sys.modules.items() if found]))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd="/")
    assert unused & set(json.loads(done.stdout)) == set()


def test_what_is_kept_out_can_be_imported_afterwards_and_what_was_there_stays():
    sys.modules.pop("this", None)
    with without("this", "json"), pytest.raises(ImportError):
        import this  # noqa: F401
    assert "this" not in sys.modules
    assert sys.modules["json"] is json
