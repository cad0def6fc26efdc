"""The dashboard at `/`: one page that says how things are."""

from pim.dashboard.page import close_when_stopping, mount

__all__ = ["close_when_stopping", "mount"]
