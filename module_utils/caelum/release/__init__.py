"""Releases: built once on the controller, verified and installed on hosts."""
