#!/usr/bin/env bash
# A GPU's first ten minutes, in parts that each print as they go; then whole trainings, and the tests that need one.
#
#   launch/gpu.sh [FER2013 [OUT]]
#
# HAS NOT BEEN RUN on a GPU: none was at hand. Each part of the first command ends within 9 minutes and stands alone:
# what the card can, the network's step in every arithmetic, ways to decode, formats and damage, training and how much
# of its step waits for data. It draws its faces itself. With FER2013: the same of its images as they are and enlarged.
# Then the study's preset, plain, compiled, and on one worker of Ray with nccl, on FER2013 or on drawn faces, and scores.
#
# PARTS    words: the parts of the first command. step alone needs torch, numpy, Pillow, and of the other dependencies
#          tyro, safetensors, annotated-types and braceexpand, some megabytes.
# FACES    a set of colour faces, to decode as well.
# EPOCHS   of the trainings, by default 2.
# DEVICE   cpu for the same lines on a CPU, with what makes them small in MORE: --width 16 --size 24 --crop 20
#          --pixels 24 --images 8 --batches 4x5,8 --steps 2 --threads 1,2 --seconds 40
#          and in TRAIN: --data.size 24 --data.crop 20 --model.width 16
set -euo pipefail
raw=${1:-}
out=${2:-gpu}
device=${DEVICE:-cuda}
mkdir -p "$out"
status=0

# What one measurement lacks is no reason to take none of the next; the script fails for it at its end.
bench() {
  fer-dist bench gpu --device "$device" "$@" || { status=$?; [ "$status" = 1 ] || exit "$status"; }
}

for part in ${PARTS:-step decode pixels train}; do
  # MORE is a list of words.
  # shellcheck disable=SC2086
  bench --parts "$part" --json "$out/gpu-$part.json" ${MORE:-}
done

if [ -z "$raw" ]; then
  [ -e "$out/shards/train/manifest.json" ] ||
    fer-dist shards build synthetic wild "$out/shards" --count 4000 --test-count 1000 --val-fraction 0.1
else
  [ -e "$out/shards/train/manifest.json" ] || fer-dist shards build fer2013 "$raw" "$out/shards"
  # What decodes best: faces as they are (48 px, grey) and enlarged, and colour ones of 224 px where FACES names such a
  # set: each value of data.decoder.
  sets=("$out/shards/train")
  for side in 224 512; do
    larger=$out/shards-$side
    [ -e "$larger/train/manifest.json" ] || fer-dist shards build fer2013 "$raw" "$larger" --resize "$side"
    sets+=("$larger/train")
  done
  [ -z "${FACES:-}" ] || sets+=("$FACES")
  for number in "${!sets[@]}"; do
    # shellcheck disable=SC2086
    bench "${sets[$number]}" --parts decode,train --batches 100x5,256 --json "$out/gpu-set-$number.json" ${MORE:-}
  done
fi
# Whole trainings. Their TensorBoard curves train/* say images/s, crops/s, the share of the step that waits for data, and
# the GPU's memory. The last one runs on one worker of Ray, which joins an nccl group.
# shellcheck disable=SC2206
study=(fer-dist train paper --data.train "$out/shards/train" --data.val "$out/shards/val" --run.device "$device"
  --train.epochs "${EPOCHS:-2}" --run.root "$out/runs" --resume ${TRAIN:-})
"${study[@]}" --run.name paper --train.compile off
"${study[@]}" --run.name paper-compiled --train.compile on
"${study[@]}" --run.name paper-ray --ray.workers 1
fer-dist evaluate --models "$out/runs/paper" "$out/runs/paper-compiled" "$out/runs/paper-ray" \
  --data "$out/shards/test" --device "$device"
# On the host's cores beside DALI's reader, torch, webdataset and litdata.
fer-dist bench loader "$out/shards/train" --json "$out/loader.json"
python -m pytest -q -m gpu
exit "$status"
