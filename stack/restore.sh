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

new=$store/.artifacts.restored
rm -rf "$new"
mkdir "$new"
tar --extract --gzip --file="$backup/artifacts.tar.gz" --directory="$new" --strip-components=1 --preserve-permissions

for database in mlflow prefect; do
    psql --quiet --set ON_ERROR_STOP=1 --dbname postgres <<SQL
DROP DATABASE IF EXISTS ${database}_restored WITH (FORCE);
CREATE DATABASE ${database}_restored OWNER $database;
REVOKE CONNECT ON DATABASE ${database}_restored FROM PUBLIC;
SQL
    pg_restore --exit-on-error --no-owner --role="$database" --dbname="${database}_restored" "$backup/$database.dump"
done

rm -rf "$store/.artifacts.old"
if [ -d "$store/artifacts" ]; then mv "$store/artifacts" "$store/.artifacts.old"; fi
chown --reference="$store" "$new"
mv "$new" "$store/artifacts"
psql --quiet --set ON_ERROR_STOP=1 --dbname postgres <<SQL
DROP DATABASE IF EXISTS mlflow WITH (FORCE);
ALTER DATABASE mlflow_restored RENAME TO mlflow;
DROP DATABASE IF EXISTS prefect WITH (FORCE);
ALTER DATABASE prefect_restored RENAME TO prefect;
SQL
rm -rf "$store/.artifacts.old"
echo "Restored $3"
