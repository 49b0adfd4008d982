-- what this build adds to Roundup's own schema, which has no index on whom an issue is assigned to
CREATE INDEX IF NOT EXISTS issue_assignedto ON _issue (_assignedto);
