-- 3,000 people and 300,000 issues, as a tracker of some years has them
INSERT INTO _user (id, _username, _roles, _realname, _address, _creation, _activity, _creator, _actor, __retired__)
SELECT id, 'person' || id, 'User', 'Person ' || id, 'person' || id || '@tracker.invalid', now(), now(), 1, 1, 0
FROM generate_series(3, 3002) AS id;
SELECT setval('_user_ids', 3002);

INSERT INTO _issue (id, _title, _status, _priority, _assignedto, _creation, _activity, _creator, _actor, __retired__)
SELECT id, 'Issue ' || id || ' of part ' || id % 97, 1 + id % 8, 1 + id % 5, 3 + (id * 7) % 3000,
       timestamp '2026-01-01' + id * interval '1 minute', timestamp '2026-01-01' + id * interval '1 minute',
       3 + id % 3000, 3 + id % 3000, 0
FROM generate_series(1, 300000) AS id;
SELECT setval('_issue_ids', 300000);
ANALYZE _user, _issue;
