#!/bin/sh
# A worker whose runs are closed when it is told to end: worker.sh COMMAND...
# Prefect's alone just leaves them; with the container they are killed, and nobody closes them.
set -u

alive() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

end() {
    trap '' TERM
    # Held, it takes no more work, and is still there for what its runs write.
    kill -STOP "$worker"
    runs=$(cat "/proc/$worker/task/"*/children)
    for run in $runs; do kill -TERM "$run"; done
    for run in $runs; do
        while alive "$run"; do sleep 0.2; done
    done
    kill -CONT "$worker"
    kill -TERM "$worker"
    wait "$worker"
    exit 0
}

# A shell lets what it starts behind itself ignore SIGINT, by which the worker ends itself.
env --default-signal=INT "$@" &
worker=$!
trap end TERM
wait "$worker"
