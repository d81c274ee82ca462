#!/bin/sh
# Accounts of MLflow's server for people and jobs, while the stack runs:
#   accounts.sh reader|ci|trainer|approver NAME...   make an account, or give one another role
#   accounts.sh password NAME...                     another password
#   accounts.sh remove NAME...
# The password of a new account is in the file accounts/NAME of the folder of secrets, and nowhere else.
set -eu
umask 077
usage() { sed -n 's/^#   //p' "$0" >&2; exit 2; }
[ "$#" -ge 2 ] || usage
what=$1
shift
case $what in reader | ci | trainer | approver | password | remove) ;; *) usage ;; esac
for name; do
    case $name in
        admin | worker | reader) echo "$name is an account of the stack itself: make rotate changes its password." >&2; exit 2 ;;
        '' | [!a-zA-Z0-9]* | *[!a-zA-Z0-9._@-]*) echo "$name: expected letters, digits and . _ @ -" >&2; exit 2 ;;
    esac
done
secrets=$(sed -n "s/^[[:space:]]*\(export \)\{0,1\}SECRETS[[:space:]]*=[[:space:]]*//p" .env | tail -n 1 | tr -d "\"'\r" | sed 's/[[:space:]]\{1,\}#.*//; s/[[:space:]]*$//')
[ -n "$secrets" ] || { echo "There is no SECRETS in .env: make up first, at the root of the project." >&2; exit 2; }
mkdir -p "$secrets/accounts"

for name; do
    file=$secrets/accounts/$name
    printf %s "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >"$file.new"
    told=$(docker compose --env-file .env run --rm -T mlflow-accounts python /stack/accounts.py "$what" "$name" <"$file.new") ||
        { rm "$file.new"; exit 3; }
    case $told in
        *": made, "* | *": another password") mv "$file.new" "$file"; told="$told; its password is in $file" ;;
        *": removed") rm -f "$file.new" "$file" ;;
        *) rm "$file.new" ;;
    esac
    echo "$told"
done
