#!/usr/bin/env bash
# The study's preset on FER2013 with one GPU: mixed decode, 256 px, five crops of 224, bf16.
#
#   launch/gpu.sh FER2013 [OUT]
#
# HAS NOT BEEN RUN: no GPU was at hand. What it is to show: pictures/s, crops/s and the share of the step that waits
# for data, from the run's TensorBoard curves (speed/*), and memory/gpu_gib. Then the tests that need a GPU.
set -euo pipefail
raw=${1:?usage: launch/gpu.sh FER2013 [OUT]}
out=${2:-fer2013-gpu}
[ -e "$out/shards/train/manifest.json" ] || fer-dist shards build fer2013 "$raw" "$out/shards"
fer-dist train paper --data.train "$out/shards/train" --data.val "$out/shards/val" --run.device cuda \
  --train.epochs "${EPOCHS:-2}" --run.root "$out/runs" --run.name paper --resume
fer-dist train paper --data.train "$out/shards/train" --data.val "$out/shards/val" --run.device cuda \
  --train.epochs "${EPOCHS:-2}" --train.compile --run.root "$out/runs" --run.name paper-compiled --resume
fer-dist evaluate --models "$out/runs/paper" "$out/runs/paper-compiled" --data "$out/shards/test" --device cuda
python -m pytest -q -m gpu
