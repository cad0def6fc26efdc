"""Instances of a host: observed, planned and applied through a runtime."""
