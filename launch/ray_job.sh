#!/usr/bin/env bash
# A Ray head of its own on this machine, with token authentication; a training job is submitted to it, stopped in the
# middle, and submitted again, which goes on from the checkpoint that the stop saved.
#
#   launch/ray_job.sh SHARDS [TRAIN FLAGS...]     SHARDS holds train/ and val/, as fer-dist shards build makes it
#
# Costs about three minutes on two cores with the demo's shards. Gives a finished run in runs/ray-job, and the two
# states of the job on standard output. Stops only the head that it started.
set -euo pipefail
shards=$(realpath "${1:?usage: launch/ray_job.sh SHARDS [TRAIN FLAGS...]}")
shift
name=${RUN_NAME:-ray-job}
root=$(realpath -m "${RUN_ROOT:-runs}")
python -c 'import fer_dist' || { echo "activate the virtual environment of fer_dist first"; exit 2; }
# New ports each time: a head that was stopped drains for half a minute and keeps its own.
free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
port=$(python -c "$free_port")
dashboard=$(python -c "$free_port")
work=$(mktemp -d /tmp/fer-ray.XXXXXX)

umask 077
python -c 'import secrets; print(secrets.token_hex(32))' > "$work/token"
# Ray ends a stopped job after 3 s otherwise, before a slow step has saved its checkpoint.
export RAY_JOB_STOP_WAIT_TIME_S=60
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$work/token"
unset RAY_ADDRESS

ray start --head --port "$port" --dashboard-host 127.0.0.1 --dashboard-port "$dashboard" --temp-dir "$work/ray" \
  --disable-usage-stats --block > "$work/head.log" 2>&1 &
head=$!
trap 'kill "$head" 2>/dev/null || true; wait "$head" 2>/dev/null || true; rm -rf "$work"' EXIT

address=http://127.0.0.1:$dashboard
for _ in $(seq 120); do
  ray job list --address "$address" > /dev/null 2>&1 && break
  kill -0 "$head" || { tail -n 20 "$work/head.log"; exit 1; }
  sleep 1
done

submit() { # ID [--no-wait] -- FLAGS...
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  ray job submit --address "$address" --submission-id "${options[@]}" -- python -m fer_dist.train demo \
    --data.train "$shards/train" --data.val "$shards/val" --run.root "$root" --run.name "$name" \
    --ray.workers "${WORKERS:-2}" --run.device "${DEVICE:-auto}" --train.save-every-steps 20 --run.ledger --resume "$@"
}

# A head that has just started answers before it can start jobs.
until submit "$name-1" --no-wait -- "$@" > "$work/submit.log" 2>&1; do
  grep -q 'No available agent' "$work/submit.log" || { tail -n 20 "$work/submit.log" "$work/head.log"; exit 1; }
  sleep 5
done
waited=0
until [ -s "$root/$name/checkpoints/list.json" ]; do
  sleep 1
  waited=$((waited + 1))
  # Asking costs seconds of a core, so not at each turn.
  [ $((waited % 30)) -ne 0 ] || case $(ray job status --address "$address" "$name-1" 2>&1) in
    *FAILED* | *failed*) ray job logs --address "$address" "$name-1"; exit 1 ;;
  esac
done
ray job stop --address "$address" "$name-1" > /dev/null
echo "first job, stopped in the middle:"
ray job logs --address "$address" "$name-1" 2>&1 | tail -n 3

echo "second job:"
submit "$name-2" -- "$@" 2>&1 | grep -v '^$' | tail -n 12
