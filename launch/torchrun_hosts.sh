#!/usr/bin/env bash
# A run on several hosts with torchrun and without Ray: the same line on each host.
#
#   HEAD=10.0.0.1:29500 HOSTS=2 launch/torchrun_hosts.sh PRESET [TRAIN FLAGS...]
#   srun --nodes 2 --ntasks-per-node 1 launch/torchrun_hosts.sh PRESET [TRAIN FLAGS...]     in an allocation of Slurm
#
# HEAD is one of the hosts, with a free port; HOSTS how many there are; PROCESSES how many on each (one for each GPU, or
# one without any). Shards and runs lie where every host sees them. Costs seconds to start. Gives the run folder; Ctrl-C
# or SIGTERM on all hosts saves a checkpoint, and the same line with --resume goes on. Unlike Ray's workers, a lost
# process ends the run on all hosts.
#
# The rendezvous asks for no token: use it on a network that is closed to strangers, or Ray. Where gloo or nccl take the
# wrong network, name it: GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME.
set -euo pipefail
if [ -n "${SLURM_JOB_ID:-}" ]; then
  HEAD=${HEAD:-$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):$((20000 + SLURM_JOB_ID % 20000))}
  HOSTS=${HOSTS:-$SLURM_JOB_NUM_NODES}
fi
if [ $# -eq 0 ] || [[ ! ${HEAD:-} =~ ^[^[:space:]]+:[0-9]+$ ]] || [[ ! ${HOSTS:-} =~ ^[1-9][0-9]*$ ]]; then
  echo 'usage: HEAD=HOST:PORT HOSTS=N launch/torchrun_hosts.sh PRESET [TRAIN FLAGS...]' >&2
  exit 2
fi
gpus=$(python -c 'import torch; print(torch.cuda.device_count())')
processes=${PROCESSES:-$((gpus > 0 ? gpus : 1))}
# The port is part of the group's name, so that a host of an older run cannot join.
exec torchrun --nnodes "$HOSTS" --nproc-per-node "$processes" --rdzv-backend c10d --rdzv-endpoint "$HEAD" \
  --rdzv-id "fer-dist-${HEAD##*:}" -m fer_dist.train "$@"
