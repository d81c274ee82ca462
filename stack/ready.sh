#!/bin/sh
# What `make up` ends with: addresses, logins and the next command. It reads .env; PROFILES are those that run.
set -eu
of() { sed -n "s/^[[:space:]]*\(export \)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" .env | tail -n 1 | tr -d "\"'\r" | sed 's/[[:space:]]\{1,\}#.*//; s/[[:space:]]*$//'; }
# By the settings NAME_PORT and NAME_PUBLIC_URL: line NAME PORT TITLE LOGIN
line() {
    port=$(of "$1_PORT")
    case " ${PROFILES:-} " in *" proxy "*) address=$(of "$1_PUBLIC_URL") ;; *) address= ;; esac
    printf '  %-8s %s   %s\n' "$3" "${address:-http://127.0.0.1:${port:-$2}}" "$4"
}
secrets=$(of SECRETS)
if [ -n "$(of SENTIFLOW_SERVE_TOKEN)" ]; then token="the token of .env"; else token="no login"; fi
echo
line MLFLOW 5000 MLflow "user admin, password in $secrets/MLFLOW_ADMIN_PASSWORD"
line PREFECT 4200 Prefect "the line in $secrets/PREFECT_LOGIN"
line API 8000 API "$token; it answers once a version is promoted"
case " ${PROFILES:-} " in *" metrics "*) line GRAFANA 3000 Grafana "no login, read-only" ;; esac
echo
echo "Next, in your shell: . stack/client.sh && sentiflow trigger train --param promote=true"
command -v sentiflow >/dev/null || echo "(sentiflow is not on your PATH: make setup says how.)"
