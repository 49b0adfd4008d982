#!/bin/sh
# how it is started: PORT, DATABASE_URL (and REDIS_URL) come from the environment
exec "${PYTHON:-python}" -m uvicorn --host 127.0.0.1 --port "$PORT" --log-level warning app:app
