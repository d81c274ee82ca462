#!/bin/sh
# Random passwords, each in a file of its own, which only the containers that need it see: env.sh [ENV [SECRETS]]
# ENV, the file of settings, names their folder. What is there stays.
set -eu
umask 077
file=${1:-.env}

touch "$file"
chmod 600 "$file"
if [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
if ! grep -q '^[[:space:]]*\(export \)\{0,1\}SECRETS[[:space:]]*=[[:space:]]*[^[:space:]]' "$file"; then echo "SECRETS=${2:-./secrets}" >>"$file"; fi
# As Compose reads it: the last line counts, without a comment.
of() { sed -n "s/^[[:space:]]*\(export \)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$file" | tail -n 1 | tr -d "\"'\r" | sed 's/[[:space:]]\{1,\}#.*//; s/[[:space:]]*$//'; }
for name in MLFLOW_PUBLIC_URL PREFECT_PUBLIC_URL API_PUBLIC_URL; do
    address=$(of "$name")
    if [ -n "$address" ] && ! echo "$address" | grep -Eqx 'https://[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*'; then
        echo "$name in $file: expected https://HOST or https://HOST/PATH, in small letters and without / at the end, got $address" >&2
        exit 2
    fi
done
folder=$(of SECRETS)
case $folder in *[\$~]*) echo "SECRETS in $file: write the whole path, without \$ and ~." >&2; exit 2 ;; esac

mkdir -p "$folder"
chmod 700 "$folder"
for name in POSTGRES_PASSWORD PREFECT_DB_PASSWORD MLFLOW_DB_PASSWORD PREFECT_LOGIN MLFLOW_ADMIN_PASSWORD \
    MLFLOW_WORKER_PASSWORD MLFLOW_READER_PASSWORD MLFLOW_SECRET_KEY REDIS_PASSWORD; do
    if [ ! -s "$folder/$name" ]; then
        random=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
        case $name in PREFECT_LOGIN) random=admin:$random ;; esac
        printf %s "$random" >"$folder/.new"
        mv "$folder/.new" "$folder/$name"
        echo "$name written to $folder"
    fi
    if [ -s "$folder/.$name.new" ]; then echo "The exchange of $name was not finished: make rotate SECRET=$name" >&2; fi
    # The containers' users are others than the folder's owner, who alone gets to the files on this machine.
    chmod 444 "$folder/$name"
done
# `sudo make up`: the commands of the user read this file, too.
if [ -n "${SUDO_UID:-}" ]; then chown -R "$SUDO_UID:$SUDO_GID" "$file" "$folder"; fi
