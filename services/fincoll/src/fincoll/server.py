"""`python -m fincoll.server`: FinColl as a process."""

import os
from typing import NoReturn

from caelum_common import log, release, server
from caelum_common.start import starting
from fincoll.settings import Settings


def main() -> NoReturn:
    """Serves until it is told to stop; exit 78 with one line when it lacks what it can't do without."""
    # Read when numpy loads: its threads would only hold memory, since onnxruntime does the arithmetic.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from fincoll.app import build

    with starting():
        settings = Settings()
    log.configure(settings.log_level, instance=settings.instance, version=release.current().version)
    server.run(lambda: build(settings), host=settings.caelum_bind, port=settings.fincoll_port, setting="FINCOLL_PORT")


if __name__ == "__main__":
    main()
