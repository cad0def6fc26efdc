"""`python -m senvec.server` runs the component that `SENVEC_COMPONENT` names."""

from typing import NoReturn

from caelum_common.server import run, starting
from senvec.app import create
from senvec.settings import SenvecSettings


def main() -> NoReturn:
    """Serve until stopped."""
    with starting():
        settings = SenvecSettings()
    run(lambda: create(settings), host=settings.caelum_bind, port=settings.port, setting="SENVEC_PORT")


if __name__ == "__main__":
    main()
