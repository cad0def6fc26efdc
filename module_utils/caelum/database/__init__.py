"""What modules write to PostgreSQL, and the server itself."""
