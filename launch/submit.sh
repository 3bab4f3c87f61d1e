#!/usr/bin/env bash
# Submit a training run to a Ray cluster that is up, and follow it to its end.
#
#   launch/submit.sh --name NAME [--address URL] [--env VARIABLE ...] [--code FOLDER] [--no-wait] [--dry-run]
#                    -- PRESET [TRAIN FLAGS...]
#
#   launch/submit.sh --name night -- paper --data.train /data/shards/train --data.val /data/shards/val --ray.workers 8
#
# --name NAME     the run's folder below --run.root. --resume is always given: the same line again goes on, after
#                 ray job stop (which saves a checkpoint first), after a failure, on a new cluster
# --address URL   the cluster's dashboard; RAY_API_SERVER_ADDRESS or http://127.0.0.1:8265 otherwise, which is where
#                 ray dashboard and kubectl port-forward bring it
# --env VARIABLE  what of your environment the run is to have, such as OMP_NUM_THREADS or AWS_PROFILE: the name alone.
#                 Names of secrets are refused, since the dashboard shows a job's settings; give the nodes a role or a
#                 mounted file
# --code FOLDER   send this folder's fer_dist along, in place of the image's, to try a change
# --no-wait       return when it is submitted
# --no-token      for a cluster without authentication: anybody who reaches it can run programs on it
# --dry-run       print what would run, each word quoted, and stop
#
# Costs what the cluster costs. Gives the run folder on the cluster's storage, the job's log here, and exit code 0 for a
# finished run, 1 for one that failed, 2 for input that is found wrong here.
set -euo pipefail
fail() {
  printf 'submit.sh: %s\n' "$1" >&2
  exit 2
}
value() {
  if [ $# -lt 2 ] || [ "$2" = -- ]; then fail "$1 wants a value"; fi
}

name='' address=${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265} code='' dry_run=no token=yes
variables=() options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case $1 in
    --name) value "$@"; name=$2; shift 2 ;;
    --address) value "$@"; address=$2; shift 2 ;;
    --env) value "$@"; variables+=("$2"); shift 2 ;;
    --code) value "$@"; code=$2; shift 2 ;;
    --no-wait) options+=(--no-wait); shift ;;
    --no-token) token=no; shift ;;
    --dry-run) dry_run=yes; shift ;;
    *) fail "no option $1; the head of this file lists them, and the run's own stand after --" ;;
  esac
done
[ $# -ge 2 ] || fail 'a preset and its flags are missing: launch/submit.sh --name NAME -- PRESET [TRAIN FLAGS...]'
shift
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || fail "--name '$name': use letters, digits, dots, dashes and underscores"
[[ $address =~ ^https?://[][A-Za-z0-9.:_/-]+$ ]] || fail "--address '$address': not a URL such as http://127.0.0.1:8265"
for flag in "$@"; do
  case $flag in
    --run.name | --run.name=*) fail '--run.name is what --name gives' ;;
    --ray.address | --ray.address=*) fail '--ray.address would leave the cluster that this is submitted to' ;;
  esac
done
for variable in "${variables[@]}"; do
  [[ $variable =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || fail "--env '$variable': the name of a variable alone"
  [[ ! ${variable^^} =~ SECRET|TOKEN|PASSW|CREDENTIAL|(^|_)KEY ]] ||
    fail "--env $variable: looks like a secret, and the dashboard shows it; give the nodes a role or a mounted file"
  [ -n "${!variable+set}" ] || fail "--env $variable: not set here"
done
[ -z "$code" ] || [ -f "$code/fer_dist/__init__.py" ] || fail "--code '$code': holds no fer_dist"
file=${RAY_AUTH_TOKEN:+RAY_AUTH_TOKEN}
file=${file:-${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}}
if [ $token = yes ]; then
  export RAY_AUTH_MODE=token
  [ -n "${RAY_AUTH_TOKEN:-}" ] || [ -s "$file" ] ||
    fail "no token at $file: name the cluster's with RAY_AUTH_TOKEN_PATH, or say --no-token"
else
  export RAY_AUTH_MODE=disabled
fi
command -v ray > /dev/null || fail 'no ray here: activate the virtual environment of fer_dist'

# In a file, which others cannot read: a command line can be.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python -c '
import json, os, sys
print(json.dumps({"env_vars": {name: os.environ[name] for name in sys.argv[2:]}}), file=open(sys.argv[1], "w"))
' "$work/runtime.yaml" "${variables[@]}"
if [ -n "$code" ]; then
  # The package alone: no shards, no runs, no history go up with it.
  mkdir "$work/code"
  cp -r "$code/fer_dist" "$work/code/"
  find "$work/code" -name __pycache__ -prune -exec rm -rf {} +
  options+=(--working-dir "$work/code")
fi
line=(ray job submit --address "$address" --submission-id "$name-$(date -u +%Y%m%d-%H%M%S)" "${options[@]}"
  --runtime-env "$work/runtime.yaml" -- python -m fer_dist.train "$@" --run.name "$name" --resume)
printf '%q ' "${line[@]}"
printf '\n'
[ $dry_run = no ] || exit 0

# Of a wrong token, or of nobody there, Ray tells in many lines; asking first gives one.
if ! answer=$(ray job list --address "$address" 2>&1); then
  case $answer in
    *uthentication* | *nauthorized* | *orbidden*) fail "$address does not take the token of $file" ;;
    *onnect*) fail "nothing answers at $address; is the cluster up, and its port forwarded?" ;;
  esac
  printf '%s\n' "$answer" | tail -n 3 >&2
  exit 1
fi
# A head that has just started answers before it can start jobs.
for _ in $(seq 30); do
  status=0
  "${line[@]}" 2> "$work/errors" || status=$?
  grep -q 'No available agent' "$work/errors" || break
  printf 'submit.sh: the cluster is still starting; asking again in 10 s\n' >&2
  sleep 10
done
cat "$work/errors" >&2
exit "$status"
