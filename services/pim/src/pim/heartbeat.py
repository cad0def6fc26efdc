"""A process's sign of life in service_health, as SQL for both drivers: one row a start, whose last_check moves on.

Parameters: service (the process), version, and run, a name for this start of it. BEGIN is for when MOVE moved nothing.
"""

MOVE = """
    UPDATE service_health SET last_check = now()
    WHERE id = (SELECT id FROM service_health WHERE service_name = %(service)s ORDER BY last_check DESC LIMIT 1)
      AND metadata ->> 'run' = %(run)s
"""
BEGIN = """
    INSERT INTO service_health (service_name, version, status, metadata)
    VALUES (%(service)s, %(version)s, 'healthy', jsonb_build_object('run', %(run)s::text))
"""
