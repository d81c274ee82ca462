#!/bin/sh
# A database and its owner each for Prefect and MLflow; PostgreSQL's image runs this once, on an empty volume.
set -eu
secrets=$(dirname "$POSTGRES_PASSWORD_FILE")
export secrets
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set prefect `cat "$secrets/PREFECT_DB_PASSWORD"`
\set mlflow `cat "$secrets/MLFLOW_DB_PASSWORD"`
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE prefect FROM PUBLIC;
REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
SQL
