"""What a timer starts each minute: `python -m finvec.gpu_report` tells how busy this host's GPUs are, for PIM."""

import json
import sys
from datetime import UTC, datetime

from caelum_common.start import CannotStart
from finvec import cli, gpu
from finvec.files import write_atomic
from finvec.settings import FinvecSettings


def main() -> int:
    """Replaces `<share>/finvec/status/<host>.gpu.json`; the exit code is 0 once it is there."""
    return cli.guarded(report)


def report() -> None:
    """Raises CannotStart without a share."""
    settings = FinvecSettings()
    folder = settings.status_folder
    if folder is None:
        raise CannotStart("CAELUM_SHARE is not set, where PIM looks for reports; deploy again")
    document = {"gpu_usage": gpu.usage(), "updated_at": datetime.now(UTC).isoformat()}
    write_atomic(folder / f"{settings.host}.gpu.json", json.dumps(document).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
