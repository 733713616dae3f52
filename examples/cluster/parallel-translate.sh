#!/bin/bash
# A folder of any length through a model by GNU parallel, in 8 parts at once: bash parallel-translate.sh
# With machines of yours that see the same files: PARALLEL="--sshlogin 4/first,4/second" bash parallel-translate.sh
# A part that fails is tried 3 times, and does what is missing. Status 1: some pictures were skipped, and are in failed/.
set -euo pipefail

translate() {
    diptych translate "$HOME/runs/h2z" "$HOME/corpus" --out "$HOME/translated" --shard "$1/8" \
        --skip-existing --failures "$HOME/failed/$1.jsonl" || [ $? = 1 ]
}
export -f translate

parallel --jobs 8 --retries 3 --env translate translate ::: $(seq 0 7)
