#!/bin/sh
# Run a command with a container's secrets as variables, each named like its file: secrets.sh FOLDER COMMAND...
set -eu
folder=$1
shift
for file in "$folder"/*; do
    # The pattern itself, where there is none.
    if [ ! -f "$file" ]; then continue; fi
    value=$(cat "$file")
    export "${file##*/}=$value"
done
exec "$@"
