#!/usr/bin/env bash
# FER2013 from its Kaggle folders to a trained network and its test score, on two CPU cores.
#
#   launch/fer2013.sh FER2013 [OUT]     FER2013 holds train/<class>/ and test/<class>/, or is fer2013.csv
#
# Costs about 20 minutes on two cores; LAUNCH="torchrun --nproc-per-node 2 -m fer_dist.train" or MORE="--ray.workers 2"
# run the same in two processes. Gives OUT/runs/fer2013 with scores; see RESULTS.md for what was measured.
set -euo pipefail
raw=${1:?usage: launch/fer2013.sh FER2013 [OUT]}
out=${2:-fer2013}
[ -e "$out/shards/train/manifest.json" ] || fer-dist shards build fer2013 "$raw" "$out/shards"
# Both are lists of words.
# shellcheck disable=SC2086
${LAUNCH:-fer-dist train} strong --data.train "$out/shards/train" --data.val "$out/shards/val" \
  --data.size 48 --data.crop 44 --train.epochs 12 --run.root "$out/runs" --run.name fer2013 --resume ${MORE:-}
fer-dist evaluate --models "$out/runs/fer2013" --data "$out/shards/val" "$out/shards/test" --json "$out/scores.json"
