#!/bin/sh
# What the entry point of PostgreSQL's image does: prepare an empty folder, run the scripts once, start the server.
# postgres.sh DATA SOCKETS SCRIPT PORT COMMAND...
set -eu
data=$1 sockets=$2 script=$3 port=$4
shift 4
export PGHOST="$sockets" PGPORT="$port"
if [ ! -f "$data/PG_VERSION" ]; then
    initdb --pgdata="$data" --username="$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256 \
        --pwfile="$POSTGRES_PASSWORD_FILE" >"$sockets/initdb.log"
    pg_ctl --pgdata="$data" --wait --silent --options="-p $port -k $sockets -c listen_addresses=''" start
    sh "$script"
    pg_ctl --pgdata="$data" --wait --silent --mode=fast stop
fi
exec "$@" -D "$data" -p "$port" -k "$sockets" -c listen_addresses=127.0.0.1 -c fsync=off
