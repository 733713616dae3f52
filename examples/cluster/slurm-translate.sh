#!/bin/bash
# A folder of any length through a model, in 100 parts: sbatch slurm-translate.sh
# The same command again does what is missing, and nothing twice.
#SBATCH --job-name=diptych-translate
#SBATCH --array=0-99
#SBATCH --gpus=1
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

PART="$SLURM_ARRAY_TASK_ID"
diptych translate "$HOME/runs/h2z" "$HOME/corpus" --out "$HOME/translated" --shard "$PART/100" \
    --skip-existing --failures "$HOME/failed/$PART.jsonl" ||
    [ $? = 1 ] # status 1: some pictures were skipped, and are in that file
