#!/bin/sh
# Both databases, the artifacts, and the volumes of data and texts into one folder, named by the moment:
#   backup.sh STORE DATA TEXTS BACKUPS
# It appears whole or not at all. The last KEEP_BACKUPS (7) stay, this one among them.
set -eu
umask 077
store=$1 data=$2 texts=$3
shift 2
keep=${KEEP_BACKUPS:-7}
case $keep in 0* | *[!0-9]*) echo "KEEP_BACKUPS: expected a number from 1, got '$keep'." >&2; exit 2 ;; esac
name=$(date -u +%Y%m%dT%H%M%SZ)
goal=$2/$name
partial=$2/.$name.partial
find "$2" -maxdepth 1 -name '.*.partial' -mmin +1440 -exec rm -rf {} +  # of those that were killed
mkdir "$partial" || { echo "Another backup of this second is under way." >&2; exit 1; }
trap 'rm -rf "$partial"; echo "No backup was made. Those from before are as they were." >&2' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# As the database's own user, DATABASE PASSWORD: what it holds has no superuser's rights here.
dump() { PGUSER=$1 PGPASSWORD=$2 pg_dump --format=custom --file="$partial/$1.dump" "$1"; }
# MLflow before the artifacts: those that a row names are then in the archive.
dump mlflow "$MLFLOW_DB_PASSWORD"
dump prefect "$PREFECT_DB_PASSWORD"
# 1 says that a file changed meanwhile: one of a run that had not ended. ARCHIVE FOLDER WHAT...
pack() {
    to=$partial/$1.tar.gz from=$2
    shift 2
    tar --create --gzip --hard-dereference --file="$to" --directory="$from" "$@" || [ $? -eq 1 ]
}
# There is no folder before the first artifact.
if [ -d "$store/artifacts" ]; then pack artifacts "$store" artifacts; else pack artifacts "$store" --files-from=/dev/null; fi
# Locks and work folders are of processes that run now.
pack data "$data" --exclude=./.restored --exclude=./locks --exclude=./work .
pack texts "$texts" --exclude=./.restored .
(cd "$partial" && sha256sum ./* >SHA256SUMS)
# A container's root would keep it from whoever the folder belongs to.
if [ "$(id -u)" = 0 ]; then chown -R --reference="$2" "$partial"; fi
mv "$partial" "$goal"
trap - EXIT
echo "Backup $name: $(du -sh "$goal" | cut -f1)"

# The oldest first. One that is half removed is no backup any more, and goes with the next.
whole=$(cd "$2" && ls -d [0-9]*T[0-9]*Z)
echo "$whole" | head -n "-$keep" | while read -r old; do
    mv "$2/$old" "$2/.$old.partial"
    rm -rf "$2/.$old.partial"
    echo "Removed $old: the last $keep stay (KEEP_BACKUPS)"
done
