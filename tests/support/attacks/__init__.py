"""Twelve attacks on a host from inside a service, and what runs them under a unit's own sandbox."""
