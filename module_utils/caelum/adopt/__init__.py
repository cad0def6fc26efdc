"""Takes over what already runs: processes on a host, and the specification's tables in a database."""
