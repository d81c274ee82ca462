# Read by a shell of yours, at the root of the project: commands then work with the stack's servers.
#   . stack/client.sh
_of() { sed -n "s/^$1=//p" .env; }
export SENTIFLOW_TRACKING_URI="http://127.0.0.1:$(_of MLFLOW_PORT | grep . || echo 5000)"
export MLFLOW_TRACKING_USERNAME=admin
export MLFLOW_TRACKING_PASSWORD="$(_of MLFLOW_ADMIN_PASSWORD)"
export PREFECT_API_URL="http://127.0.0.1:$(_of PREFECT_PORT | grep . || echo 4200)/api"
export PREFECT_API_AUTH_STRING="admin:$(_of PREFECT_ADMIN_PASSWORD)"
unset -f _of
