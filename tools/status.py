"""Prints the health of the ecosystem as PIM sees it: `make status`."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path


def port_of(env_file: Path) -> int:
    """Port that pim-web listens on, from its rendered settings."""
    for line in env_file.read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "PIM_PORT":
            return int(value.strip("\"'"))
    raise SystemExit(f"{env_file} names no PIM_PORT; deploy again: make deploy VERSION=v1.1.0")


def main(prefix: Path) -> int:
    """Print the answer of /api/system/health; 0 when everything is healthy, 1 when not, 2 when PIM does not answer."""
    env_file = prefix / "etc/caelum/pim-web@stable.env"
    if not env_file.exists():
        print(f"nothing is deployed under {prefix}; deploy with: make deploy VERSION=v1.1.0", file=sys.stderr)
        return 2
    url = f"http://127.0.0.1:{port_of(env_file)}/api/system/health"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows no 127.0.0.1 of ours
    try:
        with direct.open(url, timeout=20) as answer:
            health = json.load(answer)
    except (urllib.error.URLError, OSError) as error:
        print(f"PIM does not answer at {url}: {error}; read its log: make logs COMPONENT=pim-web", file=sys.stderr)
        return 2
    print(json.dumps(health, indent=2))
    return 0 if health["status"] == "healthy" else 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
