#!/bin/sh
# Name newer patch releases, and newer builds, of the images that the Dockerfile and docker-compose.yml pin; 1 if there are any.
set -eu
images=$(grep -ohE '[a-z]+(/[a-z]+)?:v?[0-9.]+[a-z-]*@sha256:[0-9a-f]{64}' Dockerfile docker-compose.yml | sort -u)
status=0
for image in ${images:?none is pinned}; do
    case $image in */*:*) place=docker.io ;; *) place=docker.io/library ;; esac
    name=docker://$place/${image%%:*} pinned=${image#*:}
    tag=${pinned%@*}
    version=${tag%%-*}
    series=$(echo "${version%.*}" | sed 's/\./\\./g') kind=${tag#"$version"}
    newest=$(skopeo list-tags "$name" | grep -oE "\"$series\.[0-9]+$kind\"" | tr -d '"' | sort -V | tail -n 1)
    digest=$(skopeo inspect --no-tags --format '{{.Digest}}' "$name:${newest:?no tag like $tag}")
    if [ "$newest@$digest" != "$pinned" ]; then
        echo "$image is outdated: now ${image%%:*}:$newest@$digest"
        status=1
    fi
done
exit $status
