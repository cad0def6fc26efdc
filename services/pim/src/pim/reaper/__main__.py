"""The watcher's process."""

import signal
import sys

from caelum_common.start import starting
from pim.reaper.log import Log
from pim.reaper.settings import read
from pim.reaper.watch import Watcher


def main() -> None:
    """Watch until SIGTERM or SIGINT; exit code 78 where the settings don't fit."""
    with starting():
        settings = read()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    log = Log.of(settings)
    try:
        Watcher(settings, log).run()
    finally:
        log.info("stopped")


if __name__ == "__main__":
    main()
