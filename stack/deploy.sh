#!/bin/sh
# Create the work pool if there is none, and register the deployments of prefect.yaml with the schedules of the settings.
set -eu
pool=$1
prefect --no-prompt work-pool inspect "$pool" >/dev/null 2>&1 || prefect --no-prompt work-pool create "$pool" --type process
exec sentiflow schedule --pool "$pool"
