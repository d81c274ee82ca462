#!/bin/sh
# Put a backup in the place of both databases and the artifacts: restore.sh STORE BACKUPS NAME
# All is unpacked beside what is there, which goes only once that succeeded. Nobody else may be connected.
set -eu
export PGOPTIONS=--client-min-messages=warning
store=$1 backup=$2/$3
if [ -z "$3" ] || [ ! -f "$backup/SHA256SUMS" ]; then
    echo "There is no backup '$3'. There are:" >&2
    ls "$2" >&2
    exit 2
fi
(cd "$backup" && sha256sum --check --quiet SHA256SUMS)

query() { psql --quiet --set ON_ERROR_STOP=1 --dbname postgres; }

new=$store/.restored old=$store/.replaced
rm -rf "$new" "$old"
mkdir "$new" "$old"
tar --extract --gzip --file="$backup/artifacts.tar.gz" --directory="$new" --preserve-permissions --numeric-owner
if [ "$(id -u)" = 0 ]; then chown "$OWNER" "$store"; fi

for database in mlflow prefect; do
    query <<SQL
DROP DATABASE IF EXISTS ${database}_replaced;
DROP DATABASE IF EXISTS ${database}_restored WITH (FORCE);
CREATE DATABASE ${database}_restored OWNER $database;
REVOKE CONNECT ON DATABASE ${database}_restored FROM PUBLIC;
SQL
    pg_restore --exit-on-error --no-owner --role="$database" --dbname="${database}_restored" "$backup/$database.dump"
done

# There is no folder before the first artifact.
swap() {
    if [ -d "$store/artifacts" ]; then mv "$store/artifacts" "$1/artifacts"; fi
    if [ -d "$2/artifacts" ]; then mv "$2/artifacts" "$store/artifacts"; fi
}
# Nothing may come between the files and the databases.
trap '' INT TERM
swap "$old" "$new"
trap 'swap "$new" "$old"' EXIT
query <<SQL
BEGIN;
ALTER DATABASE mlflow RENAME TO mlflow_replaced;
ALTER DATABASE mlflow_restored RENAME TO mlflow;
ALTER DATABASE prefect RENAME TO prefect_replaced;
ALTER DATABASE prefect_restored RENAME TO prefect;
COMMIT;
SQL
trap - EXIT INT TERM
query <<SQL
DROP DATABASE mlflow_replaced WITH (FORCE);
DROP DATABASE prefect_replaced WITH (FORCE);
SQL
rm -rf "$new" "$old"
echo "Restored $3"
