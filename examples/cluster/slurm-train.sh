#!/bin/bash
# One training on 2 machines with 8 GPUs each: sbatch slurm-train.sh
# 2 minutes before the time is over all processes stop at one checkpoint, the job is queued again, and goes on.
#SBATCH --job-name=diptych
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node 8 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$HEAD:29500" \
    -m diptych train cyclegan --data "$HOME/horse2zebra" --out "$HOME/runs/h2z" --batch-size 16
