"""A PostgreSQL server of Debian's on this host: its cluster, its files, its administrator."""
