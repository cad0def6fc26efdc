"""The specification's three tables, by its own statements, and rows across the days when clocks change."""

SPECIFICATION = """
CREATE TABLE service_configs (
  id SERIAL PRIMARY KEY,
  service_name VARCHAR(50) NOT NULL,  -- 'fincoll', 'senvec', 'finvec'
  version VARCHAR(20) NOT NULL,       -- 'v1.0.0', 'v2.0.0-beta'
  config_json JSONB NOT NULL,         -- Service-specific config
  environment VARCHAR(20) NOT NULL,   -- 'dev', 'test', 'prod'
  host VARCHAR(100),                  -- '10.32.3.44', '10.32.3.27'
  port INTEGER,
  enabled BOOLEAN DEFAULT true,
  created_at TIMESTAMP DEFAULT NOW(),
  updated_at TIMESTAMP DEFAULT NOW()
);

CREATE TABLE service_health (
  id SERIAL PRIMARY KEY,
  service_name VARCHAR(50) NOT NULL,
  version VARCHAR(20),
  status VARCHAR(20),  -- 'healthy', 'degraded', 'down'
  last_check TIMESTAMP DEFAULT NOW(),
  response_time_ms INTEGER,
  metadata JSONB
);

CREATE TABLE deployment_history (
  id SERIAL PRIMARY KEY,
  service_name VARCHAR(50) NOT NULL,
  version VARCHAR(20) NOT NULL,
  action VARCHAR(20),  -- 'deploy', 'rollback', 'test', 'promote'
  host VARCHAR(100),
  status VARCHAR(20),  -- 'success', 'failed', 'in_progress'
  started_at TIMESTAMP DEFAULT NOW(),
  completed_at TIMESTAMP,
  logs TEXT
);
"""
ROWS = """
INSERT INTO service_configs (service_name, version, config_json, environment, host, port, enabled, created_at) VALUES
  ('fincoll', 'v1.0.0', '{"senvec_url": "http://10.32.3.27:18000", "rate": 1.50}', 'prod', '10.32.3.44', 8001, true,
   '2025-03-09 01:59:59.999999'),
  ('senvec', 'v1.0.0', '{}', 'prod', NULL, NULL, NULL, NULL);
INSERT INTO service_health (service_name, version, status, last_check, response_time_ms, metadata) VALUES
  ('fincoll', 'v1.0.0', 'healthy', '2025-11-02 00:30:00', 45, '{"note": "50% of O''Neil"}'),
  ('fincoll', 'v1.0.0', 'UP', '2025-11-02 01:30:00', 45, NULL),
  ('senvec', NULL, NULL, NULL, NULL, NULL),
  ('senvec', 'v1.0.0', 'down', '2025-03-09 02:30:00', NULL, NULL);
INSERT INTO deployment_history (service_name, version, action, host, status, started_at, completed_at, logs) VALUES
  ('fincoll', 'v1.0.0', 'deploy', '10.32.3.44', 'success', '2025-03-08 12:00:00', '2025-03-08 12:05:00', 'all''s well'),
  ('fincoll', 'v1.1.0', 'deploy', '10.32.3.44', 'in_progress', '2025-07-01 12:00:00', NULL, NULL),
  ('fincoll', 'v1.1.0', 'deploy', '10.32.3.44', 'in_progress', '2025-07-01 12:01:00', NULL, NULL),
  ('senvec', 'v1.0.0', NULL, NULL, 'completed', '2025-12-01 12:00:00', '2025-12-01 12:05:00', NULL);
DELETE FROM service_health WHERE id = 4;
INSERT INTO service_health (service_name, status, last_check) VALUES ('pim', 'down', '2025-03-09 02:30:00');
"""
