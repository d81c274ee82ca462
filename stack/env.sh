#!/bin/sh
# Write random passwords to .env, for each that it lacks. What is there stays.
set -eu
umask 077
file=${1:-.env}
touch "$file"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

if [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
for name in POSTGRES_PASSWORD PREFECT_DB_PASSWORD MLFLOW_DB_PASSWORD PREFECT_ADMIN_PASSWORD MLFLOW_ADMIN_PASSWORD \
    MLFLOW_READER_PASSWORD MLFLOW_SECRET_KEY REDIS_PASSWORD; do
    if ! grep -q "^$name=." "$file"; then
        echo "$name=$(random)" >>"$file"
        echo "$name written to $file"
    fi
done
chmod 600 "$file"
