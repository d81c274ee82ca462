#!/bin/sh
# What `read_only` is to a container, by root, in a mount namespace of its own: only these folders can be written to.
# confined.sh FOLDER... -- COMMAND...
set -eu
while [ "$1" != -- ]; do
    mount --bind "$1" "$1"
    shift
done
shift
mount -o remount,bind,ro /
exec "$@"
