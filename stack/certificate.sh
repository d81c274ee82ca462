#!/bin/sh
# The certificate by which Dask's scheduler, workers and clients know each other, with its key: certificate.sh FOLDER
# It is its own authority: whoever holds the key may let the workers run code. What is there stays.
set -eu
umask 077
folder=$1
mkdir -p "$folder"
if [ -f "$folder/certificate.pem" ]; then exit 0; fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 -subj /CN=sentiflow-dask \
    -keyout "$folder/key.pem" -out "$folder/.certificate.pem" 2>/dev/null
mv "$folder/.certificate.pem" "$folder/certificate.pem"
