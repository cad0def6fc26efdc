"""The dashboard at `/`: one page that says how things are."""

from pim.dashboard.page import mount

__all__ = ["mount"]
