#!/bin/sh
# Run a command with the parts of the public addresses as variables: public.sh COMMAND...
# stack/env.sh has checked them: https://HOST[:PORT][/PATH].
set -eu
SITES=
for name in MLFLOW PREFECT API; do
    eval "address=\${${name}_PUBLIC_URL:-}"
    address=${address#https://}
    host=${address%%/*}
    prefix=${address#"$host"}
    # Nobody is asked under a name that cannot exist.
    host=${host:-none.invalid}
    export "${name}_SITE=${host%:*}" "${name}_PREFIX=$prefix"
    case $host in *.invalid) continue ;; esac
    case " $SITES " in *" https://${host%:*} "*) ;; *) SITES="$SITES https://${host%:*}" ;; esac
done
export SITES
export PREFECT_SERVER_UI_SERVE_BASE="${PREFECT_PREFIX:-/}"
export SENTIFLOW_SERVE_HOSTS="${SENTIFLOW_SERVE_HOSTS:-},$API_SITE"
if [ "$1" = caddy ] && [ -z "$SITES" ]; then
    echo "In .env there is no MLFLOW_PUBLIC_URL, PREFECT_PUBLIC_URL or API_PUBLIC_URL for the proxy." >&2
    exit 2
fi
exec "$@"
