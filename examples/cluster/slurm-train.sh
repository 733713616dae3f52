#!/bin/bash
# One training on 2 machines with 8 GPUs each: sbatch slurm-train.sh
# 2 minutes before the time is over all processes stop at one checkpoint, the job is queued again, and goes on.
#SBATCH --job-name=diptych
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Slurm's signal comes to this script alone. `scontrol requeue` by itself would give the training 30 seconds to stop.
time_is_over=false
trap 'time_is_over=true; scancel --signal=TERM "$SLURM_JOB_ID"' TERM

srun torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node 8 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$HEAD:29500" \
    -m diptych train cyclegan --data "$HOME/horse2zebra" --out "$HOME/runs/h2z" --batch-size 16 &
status=0
wait $! || wait $! || status=$? # the first one ends with the signal, the second with the training
if "$time_is_over"; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
