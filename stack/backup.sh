#!/bin/sh
# Both databases and the artifacts into one folder, named by the moment: backup.sh STORE BACKUPS
# It appears whole or not at all.
set -eu
umask 077
store=$1
name=$(date -u +%Y%m%dT%H%M%SZ)
goal=$2/$name
partial=$2/.$name.partial
find "$2" -maxdepth 1 -name '.*.partial' -mmin +1440 -exec rm -rf {} +  # of those that were killed
mkdir "$partial" || { echo "Another backup of this second is under way." >&2; exit 1; }
trap 'rm -rf "$partial"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# As the database's own user, DATABASE PASSWORD: what it holds has no superuser's rights here.
dump() { PGUSER=$1 PGPASSWORD=$2 pg_dump --format=custom --file="$partial/$1.dump" "$1"; }
# MLflow before the artifacts: those that a row names are then in the archive.
dump mlflow "$MLFLOW_DB_PASSWORD"
dump prefect "$PREFECT_DB_PASSWORD"
# There is no folder before the first artifact.
if [ -d "$store/artifacts" ]; then what=artifacts; else what=--files-from=/dev/null; fi
# 1 says that a file changed meanwhile: one of a run that had not ended.
tar --create --gzip --hard-dereference --file="$partial/artifacts.tar.gz" --directory="$store" "$what" || [ $? -eq 1 ]
(cd "$partial" && sha256sum mlflow.dump prefect.dump artifacts.tar.gz >SHA256SUMS)
# A container's root would keep it from whoever the folder belongs to.
if [ "$(id -u)" = 0 ]; then chown -R --reference="$2" "$partial"; fi
mv "$partial" "$goal"
trap - EXIT
echo "Backup $name: $(du -sh "$goal" | cut -f1)"
