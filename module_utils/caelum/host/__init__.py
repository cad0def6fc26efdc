"""What a host of a fleet must be before it gets instances: users, folders, share, journal, clock."""
