#!/bin/sh
# Give a role of PostgreSQL, else the administrator, the password that the input holds: role_password.sh [ROLE]
# An exchange of the administrator's own that was killed may have done it already: then this one logs in.
set -eu
password=$(cat)
export password role="${1:-$PGUSER}"
change() {
    psql --quiet --no-password --set ON_ERROR_STOP=1 --dbname postgres <<'SQL'
\set role `printf %s "$role"`
\set password `printf %s "$password"`
ALTER ROLE :"role" PASSWORD :'password';
SQL
}
change || { [ "$role" = "$PGUSER" ] && PGPASSWORD=$password change; }
