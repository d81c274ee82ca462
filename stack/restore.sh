#!/bin/sh
# Put a backup in the place of both databases and the artifacts, and its files of the volumes of data and texts over those
# that are there: restore.sh STORE DATA TEXTS BACKUPS NAME
# Without BACKUPS and NAME it only settles what one that was killed left, as each begins with: `make up` does so, too.
# All is unpacked beside what is there, which goes only once that succeeded. Nobody else may be connected.
set -eu
umask 022
export PGOPTIONS=--client-min-messages=warning
store=$1 new=$1/.restored old=$1/.replaced data=$2 texts=$3
shift 2

query() { psql --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname postgres; }

# The databases are exchanged in one step, after the artifacts: they tell whether that step was taken. If not, the old
# artifacts come back; if so, data and texts follow. mlflow_replaced, the sign that it was, is the last to go.
settle() {
    replaced=$(echo "SELECT count(*) FROM pg_database WHERE datname = 'mlflow_replaced'" | query)
    if [ "$replaced" = 0 ] && [ -d "$old/artifacts" ]; then
        if [ -d "$store/artifacts" ]; then mv "$store/artifacts" "$new/artifacts"; fi
        mv "$old/artifacts" "$store/artifacts"
        echo "A restore did not end: the artifacts from before it are back, beside the databases from before it." >&2
    fi
    for folder in "$data" "$texts"; do
        # Links, as a file then is there whole or not at all.
        if [ "$replaced" = 1 ] && [ -d "$folder/.restored" ]; then
            cp --archive --link --remove-destination "$folder/.restored/." "$folder"
        fi
        rm -rf "$folder/.restored"
    done
    rm -rf "$new" "$old"
    query <<SQL
DROP DATABASE IF EXISTS mlflow_restored WITH (FORCE);
DROP DATABASE IF EXISTS prefect_restored WITH (FORCE);
DROP DATABASE IF EXISTS prefect_replaced WITH (FORCE);
DROP DATABASE IF EXISTS mlflow_replaced WITH (FORCE);
SQL
}
finish() {
    status=$?
    trap '' INT TERM
    trap - EXIT
    settle
    exit "$status"
}

exec 9<"$store"
flock --nonblock 9 || { echo "Another restore is under way." >&2; exit 2; }
settle
if [ $# -lt 3 ]; then exit 0; fi

backup=$2/$3
if [ -z "$3" ] || [ ! -f "$backup/SHA256SUMS" ]; then
    echo "There is no backup '$3'. There are:" >&2
    ls "$2" >&2
    exit 2
fi
(cd "$backup" && sha256sum --check --quiet SHA256SUMS)
for archive in "$backup"/*.tar.gz; do
    if tar --list --verbose --gzip --file="$archive" | grep '^[^d-]' >&2; then
        echo "The archive $archive holds the above, which are neither files nor folders: it is refused." >&2
        exit 1
    fi
done

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# ARCHIVE FOLDER, for the images' user
unpack() {
    mkdir "$2"
    tar --extract --gzip --file="$backup/$1.tar.gz" --directory="$2" --no-same-permissions --no-same-owner
    if [ "$(id -u)" = 0 ]; then chown -R "$OWNER" "$2"; fi
}
unpack artifacts "$new"
# There is no folder before the first artifact.
mkdir -p "$new/artifacts" "$old" "$store/artifacts"
if [ "$(id -u)" = 0 ]; then chown "$OWNER" "$store" "$store/artifacts" "$new/artifacts"; fi
if [ -f "$backup/data.tar.gz" ]; then
    unpack data "$data/.restored"
    unpack texts "$texts/.restored"
else
    echo "Backup $3 is of a version that did not save data and texts: theirs stay as they are." >&2
fi

# As the database's own user, DATABASE PASSWORD: what a dump says is run with no superuser's rights.
load() {
    query <<SQL
CREATE DATABASE $1_restored OWNER $1;
REVOKE CONNECT ON DATABASE $1_restored FROM PUBLIC;
SQL
    PGUSER=$1 PGPASSWORD=$2 pg_restore --exit-on-error --no-owner --no-privileges --dbname="$1_restored" "$backup/$1.dump"
}
load mlflow "$MLFLOW_DB_PASSWORD"
load prefect "$PREFECT_DB_PASSWORD"

mv "$store/artifacts" "$old/artifacts"
mv "$new/artifacts" "$store/artifacts"
# On the disk before the databases say so.
sync --file-system "$store" "$data" "$texts"
query <<SQL
BEGIN;
ALTER DATABASE mlflow RENAME TO mlflow_replaced;
ALTER DATABASE mlflow_restored RENAME TO mlflow;
ALTER DATABASE prefect RENAME TO prefect_replaced;
ALTER DATABASE prefect_restored RENAME TO prefect;
COMMIT;
SQL
echo "Restored $3"
