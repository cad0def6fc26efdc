"""`python -m senvec.server` runs the component that `SENVEC_COMPONENT` names."""

from typing import NoReturn

from caelum_common.start import starting
from senvec.settings import SenvecSettings


def main() -> NoReturn:
    """Serve until stopped."""
    with starting():
        settings = SenvecSettings()
        if settings.senvec_component == "sentimentrader":
            from senvec.gauges import gauges

            # Before the web framework is imported: it then fills the memory that thousands of bars leave in pieces.
            gauges(settings.caelum_data)
    from caelum_common.server import run
    from senvec.app import create

    run(lambda: create(settings), host=settings.caelum_bind, port=settings.port, setting="SENVEC_PORT")


if __name__ == "__main__":
    main()
