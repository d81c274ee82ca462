#!/bin/sh
# Make the work pool if there is none, and deploy all flows with the schedules of the settings.
set -eu
pool=$1
prefect --no-prompt work-pool inspect "$pool" >/dev/null 2>&1 || prefect --no-prompt work-pool create "$pool" --type process
python -m flows.deployments --pool "$pool" --keep-paused >"$2"
prefect --no-prompt deploy --all --prefect-file "$2"
