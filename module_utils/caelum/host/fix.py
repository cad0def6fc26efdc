"""One thing of a host that is not as it must be, and how it becomes so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic import make_dirs, write_atomic
from ..commands import reason, run
from ..errors import Refused


@dataclass(frozen=True)
class Fix:
    """A step of a plan: `what` it is about, how that is and how it will be, and the change itself."""

    what: str
    before: str
    after: str
    do: Callable[[], None] = field(repr=False)

    def apply(self) -> None:
        """Make the change; Refused with one line when the host does not let it happen."""
        try:
            self.do()
        except OSError as error:
            raise Refused(f"{self.what} cannot become {self.after}: {error.strerror} ({error.filename})") from error

    @property
    def line(self) -> str:
        """The step as a list of steps shows it."""
        return f"{self.what}: {'written' if chr(10) in self.after else self.after}"

    def diff(self) -> dict[str, str]:
        """The step as `--diff` shows it."""
        return {
            "before_header": self.what,
            "after_header": self.what,
            "before": f"{self.before.rstrip()}\n" if self.before else "",
            "after": f"{self.after.rstrip()}\n" if self.after else "",
        }


def written(path: Path, text: str, then: Callable[[], None]) -> list[Fix]:
    """The fix that makes `path` hold `text`, root's and 0644, and does what must follow; none when it is so."""
    have = path.read_text() if path.is_file() else ""
    if have == text:
        return []

    def write() -> None:
        make_dirs(path.parent)
        write_atomic(path, text.encode())
        then()

    return [Fix(str(path), have, text, write)]


def command(argv: Sequence[str], what: str) -> bytes:
    """Output of a program that must succeed; Refused with its own reason otherwise. `what` begins the line."""
    done = run(argv)
    if done.returncode != 0:
        raise Refused(f"{what}: `{' '.join(argv)}` failed: {reason(done.stderr or done.stdout)}")
    return bytes(done.stdout)
