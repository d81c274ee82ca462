#!/bin/sh
# Exchange a secret of the stack: rotate.sh NAME [FILE]; `make rotate SECRET=NAME` calls it. The new one is random, or the
# first line of FILE. It is written beside the old one, told to the service that checks it, takes the old one's place,
# and what reads it is made again. After a kill the same command goes on with the same one.
# COMPOSE is Compose's command with its options; WORKERS, how many workers run.
set -eu
umask 077
name=${1:-}
case $name in
    PREFECT_LOGIN) readers="prefect prefect-2 worker dask-worker" ;;
    MLFLOW_ADMIN_PASSWORD) readers=mlflow ;;
    MLFLOW_WORKER_PASSWORD) readers="worker dask-worker" ;;
    MLFLOW_READER_PASSWORD) readers=api ;;
    MLFLOW_SECRET_KEY) readers=mlflow ;;
    MLFLOW_DB_PASSWORD) readers=mlflow ;;
    PREFECT_DB_PASSWORD) readers="prefect prefect-2" ;;
    POSTGRES_PASSWORD) readers=postgres ;;
    REDIS_PASSWORD) readers="redis prefect prefect-2" ;;
    AWS_SECRET_ACCESS_KEY) readers=mlflow ;;
    *)
        echo "Expected the name of a secret, as in make rotate SECRET=PREFECT_LOGIN, one of:" >&2
        sed -n 's/^    \([A-Z_]*\)) readers.*/  \1/p' "$0" >&2
        exit 2
        ;;
esac
compose=${COMPOSE:-docker compose --env-file .env}
secrets=$(sed -n "s/^[[:space:]]*\(export \)\{0,1\}SECRETS[[:space:]]*=[[:space:]]*//p" .env | tail -n 1 | tr -d "\"'\r" | sed 's/[[:space:]]\{1,\}#.*//; s/[[:space:]]*$//')
file=$secrets/$name
[ -f "$file" ] || { echo "There is no $file: make up first, at the root of the project." >&2; exit 2; }
new=$secrets/.$name.new

if [ ! -s "$new" ]; then
    if [ -n "${2:-}" ]; then
        given=$(head -n 1 "$2")
    elif [ "$name" = AWS_SECRET_ACCESS_KEY ]; then
        echo "The bucket's owner makes this one: make rotate SECRET=$name FILE=..." >&2
        exit 2
    else
        given=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        case $name in PREFECT_LOGIN) given=admin:$given ;; esac
    fi
    case $name in
        AWS_SECRET_ACCESS_KEY) form='.+' told="a line" ;;
        PREFECT_LOGIN) form='[^:]+:[a-zA-Z0-9]{12,}' told="a name, a colon, and twelve letters and digits at least" ;;
        *) form='[a-zA-Z0-9]{12,}' told="twelve letters and digits at least" ;;
    esac
    echo "$given" | grep -Eqx "$form" || { echo "$name: expected $told" >&2; exit 2; }
    printf %s "$given" >"$new.part"
    mv "$new.part" "$new"
fi

case $name in
    MLFLOW_ADMIN_PASSWORD) $compose run --rm -T mlflow-migrate python /stack/admin_password.py postgresql+psycopg:///mlflow <"$new" ;;
    POSTGRES_PASSWORD) $compose run --rm -T settle sh /stack/role_password.sh <"$new" ;;
    MLFLOW_DB_PASSWORD) $compose run --rm -T settle sh /stack/role_password.sh mlflow <"$new" ;;
    PREFECT_DB_PASSWORD) $compose run --rm -T settle sh /stack/role_password.sh prefect <"$new" ;;
esac
cp "$new" "$file.part"
chmod 444 "$file.part"
mv -f "$file.part" "$file"
case $name in MLFLOW_WORKER_PASSWORD | MLFLOW_READER_PASSWORD) $compose run --rm -T mlflow-accounts ;; esac

# What does not run is not started.
running=$($compose ps --services)
again=
for reader in $readers; do
    if echo "$running" | grep -qx "$reader"; then again="$again $reader"; fi
done
if [ -n "$again" ]; then
    $compose up --detach --wait --force-recreate $(case $again in *" worker"*) echo "--scale=worker=${WORKERS:-1}" ;; esac) $again
fi
rm "$new"
echo "$name: exchanged; it is in $file"
