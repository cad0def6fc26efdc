"""`python -m pim.reaper`: returns a host to its last good release when a deployment's controller was lost.

The watcher asks each second for deployments whose lease is over, and stays small. What it finds is taken back by a
process of its own in a session of its own: it needs far more code for a few seconds, and it lives on when it
restarts PIM, the watcher included.
"""
