# Read by a shell of yours, at the root of the project: commands then work with the stack's servers.
#   . stack/client.sh
[ -r .env ] || { echo "There is no .env here: at the root of the project, make env." >&2; return 1; }
_of() { sed -n "s/^[[:space:]]*\(export \)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" .env | tail -n 1 | tr -d "\"'\r" | sed 's/[[:space:]]\{1,\}#.*//; s/[[:space:]]*$//'; }
export SENTIFLOW_TRACKING_URI="http://127.0.0.1:$(_of MLFLOW_PORT | grep . || echo 5000)"
export MLFLOW_TRACKING_USERNAME=worker
export MLFLOW_TRACKING_PASSWORD="$(cat "$(_of SECRETS)/MLFLOW_WORKER_PASSWORD")"
export PREFECT_API_URL="http://127.0.0.1:$(_of PREFECT_PORT | grep . || echo 4200)/api"
export PREFECT_API_AUTH_STRING="$(cat "$(_of SECRETS)/PREFECT_LOGIN")"
# Links lead where browsers of other machines get to.
if [ -n "$(_of MLFLOW_PUBLIC_URL)" ]; then export SENTIFLOW_UI_URL="$(_of MLFLOW_PUBLIC_URL)"; fi
if [ -n "$(_of PREFECT_PUBLIC_URL)" ]; then export PREFECT_UI_URL="$(_of PREFECT_PUBLIC_URL)"; fi
unset -f _of
