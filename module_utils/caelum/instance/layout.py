"""Where the files of instances are under a prefix, whatever the runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .tree import Directory


@dataclass(frozen=True)
class Layout:
    """The folders of one deployment on a host."""

    prefix: Path

    @property
    def config(self) -> Path:
        """Folder of the env files."""
        return self.prefix / "etc/caelum"

    @property
    def credentials(self) -> Path:
        """Folder of the instances' folders of credentials."""
        return self.config / "credentials"

    @property
    def logs(self) -> Path:
        """Folder of the instances' logs."""
        return self.prefix / "var/log/caelum"

    @property
    def services(self) -> Path:
        """Folder of the services' releases and slots."""
        return self.prefix / "opt/caelum"

    @property
    def revisions(self) -> Path:
        """Folder of the services' recorded releases."""
        return self.prefix / "var/lib/caelum/revisions"

    def env_file(self, name: str) -> Path:
        """Rendered configuration of an instance."""
        return self.config / f"{name}.env"

    def credentials_of(self, name: str) -> Path:
        """Folder of an instance's credentials."""
        return self.credentials / name

    def log(self, name: str) -> Path:
        """Log of an instance."""
        return self.logs / f"{name}.log"

    def directories(self) -> tuple[Directory, ...]:
        """The folders that every deployment has. Those of credentials can be passed through but not listed."""
        return (
            Directory(self.config, 0o755),
            Directory(self.credentials, 0o711),
            Directory(self.logs, 0o755),
        )
