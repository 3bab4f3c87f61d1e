#!/usr/bin/env bash
# The study's preset on FER2013 with one GPU: mixed decode, 256 px, five crops of 224, bf16; then ways to decode.
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

# What decodes best. Faces as they are (48 px, grey) and enlarged, colour ones of 224 px where FACES names such a set.
# For each: nvJPEG ("mixed") with several shares of the hardware engine, and the host's cores before a GPU graph; the
# rate of decoding alone and of the whole fused graph, five crops, half precision. The default is to follow the winner.
sets=("$out/shards/train")
for side in 224 512; do
  larger=$out/shards-$side
  [ -e "$larger/train/manifest.json" ] || fer-dist shards build fer2013 "$raw" "$larger" --resize "$side"
  sets+=("$larger/train")
done
[ -z "${FACES:-}" ] || sets+=("$FACES")
for set in "${sets[@]}"; do
  python - "$set" "${THREADS:-8}" <<'PYTHON'
import sys, time
from dataclasses import replace
from itertools import cycle
from statistics import median

import torch
from nvidia.dali import fn, types

from fer_dist.bench.peers import dali_draws
from fer_dist.config.settings import DataConfig
from fer_dist.data.loading.loader import open_reader
from fer_dist.data.loading.order import sequence
from fer_dist.data.loading.pipeline import Graph, augmented, draws_of, empty_pipeline
from fer_dist.data.emotions import EIGHT

BATCH, STEPS, REPEATS = 256, 40, 5
folder, threads = sys.argv[1], int(sys.argv[2])
gpu = torch.device("cuda", 0)
reader = open_reader(folder, EIGHT, DataConfig(drop_extra=True), "SHARDS")
parts = [part for part in sequence(reader.counts, 0, 1, BATCH)[:16] if len(part) == BATCH]
batches = [[picture.copy() for picture in reader.read(part).content] for part in parts]
graph = Graph(replace(DataConfig(), fused=True), True, BATCH, gpu, half=True, threads=threads)


def rate(where: str, share: float, whole: bool) -> float:
    feed = cycle(batches)
    pipeline = empty_pipeline(BATCH, threads, gpu)
    with pipeline:
        encoded = fn.external_source(source=lambda: next(feed), batch=True, dtype=types.UINT8, ndim=1)
        settings = {"hw_decoder_load": share} if where == "mixed" else {}
        pictures = fn.decoders.image(encoded, device=where, output_type=types.RGB, **settings).gpu()
        drawn = dali_draws(graph.data, draws_of(graph))
        pipeline.set_outputs(augmented(pictures, drawn, graph) if whole else pictures)
    pipeline.build()
    for _ in range(10):
        pipeline.run()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(STEPS):
        pipeline.run()
    torch.cuda.synchronize()
    return BATCH * STEPS / (time.perf_counter() - begun)


ways = [("mixed", share) for share in (0.0, 0.25, 0.5, 0.65, 0.8, 1.0)] + [("cpu", 0.0)]
found: dict[tuple[str, float, bool], list[float]] = {}
for _ in range(REPEATS):
    for where, share in ways:
        for whole in (False, True):
            found.setdefault((where, share, whole), []).append(rate(where, share, whole))
for (where, share, whole), rates in found.items():
    what = "whole graph" if whole else "decode alone"
    engine = f"hw_decoder_load {share}" if where == "mixed" else f"{threads} threads"
    print(f"{folder}: {where}, {engine}, {what}: {median(rates):,.0f} pictures/s ({min(rates):,.0f} to {max(rates):,.0f})")
PYTHON
done
# On the host's cores beside DALI's reader, torch, webdataset and litdata.
fer-dist bench loader "$out/shards/train" --json "$out/loader.json"
