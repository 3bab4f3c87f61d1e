"""A wrong flag, name or path is answered in one line, and before anything is imported that takes seconds."""

import json
import subprocess
import sys

import pytest
from support.faces import faces, shard_set
from support.runs import environment

HEAVY = ["torch", "torchvision", "ray", "nvidia", "deepspeed", "matplotlib", "pyarrow", "scipy"]

EACH = """
import contextlib, io, json, sys
from fer_dist.cli.commands import main

for words in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    print(json.dumps([code, said.getvalue(), sorted(set(sys.argv[1:]) & set(sys.modules))]))
"""

MISSING = "missing: no such folder of shards; make one with: fer-dist shards build SOURCE RAW OUT"
NO_SET = "empty: no manifest.json; for tars of others: fer-dist shards index"
NO_RUN = "missing: no such run folder or .safetensors file"
NO_CHECKPOINT = "empty: no checkpoint; is this a run folder, and did the run get that far?"

WRONG = {
    "trian demo": "did you mean train?",
    "train deom": "unknown preset 'deom'; did you mean demo?",
    "train demo --data.trian x": "unknown flag --data.trian; did you mean --data.train?",
    "train demo --data.train missing": f"--data.train: {MISSING}",
    "train demo --data.train empty --ray.workers 2": f"--data.train: {NO_SET}",
    "train demo --data.train missing --dry-run": f"--data.train: {MISSING}",
    "train demo --data.train set/train --data.val missing": f"--data.val: {MISSING}",
    "train demo --data.train set/train --data.val set/test": "is a test split; a test split is read once",
    "train demo --data.train set/train --data.leave-out missing": "missing: no list of images to leave out",
    "train demo --data.train set/train --train.init-from missing": NO_RUN,
    "evaluate --models missing --data set/test": NO_RUN,
    "evaluate --models empty --data set/test": NO_CHECKPOINT,
    "evaluate --models run --data missing": f"--data: {MISSING}",
    "evaluate --models run --data set set/test": "set/test, set/test are all called drawn-test; give one of them",
    "evaluate --modles run --data set/test": "unknown flag --modles; did you mean --models?",
    "evaluate --models run --data set/test --leave-out missing": "missing: no list of images to leave out",
    "evaluate --models run --data set/test --batch-size 0": "--batch-size 0 must be at least 1",
    "evaluate --models run --data set/test --labels a,b": "--labels: is for ONNX files of others",
    "export missing": NO_RUN,
    "export empty": NO_CHECKPOINT,
    "export run --data missing": f"--data: {MISSING}",
    "export run --int8": "--int8: wants --calibration, and --data to say what it costs",
    "export run --formt pt2": "unknown flag --formt; did you mean --format?",
    "cite missing": NO_RUN,
    "runs missing": "missing: no such folder; give the one that holds the run folders",
    "predict missing set/test": NO_RUN,
    "predict empty set/test": NO_CHECKPOINT,
    "predict run missing": "missing: no such file or folder",
    "predict run plan.yaml": "plan.yaml: neither an image nor a video by its name",
    "predict run empty": "empty: a folder without an image",
    "predict run set/test --emotoins happy": "unknown flag --emotoins; did you mean --emotions?",
    "predict run set/test --min-confidence 50": "--min-confidence 50.0 is out of range; it must lie in 0..1",
    "study papper": "papper: no plan there; did you mean paper?",
    "study missing.yaml": "missing.yaml: no plan there",
    "study plan.yaml": "data.a: the split train: missing/train: no such folder of shards",
    "study paper --a missing --b missing": "--a: missing/test: no such folder of shards",
    "study set.yaml --side-by-side 0": "--side-by-side 0 is too small",
    "study report --open": "unknown flag --open",
    "study report missing": "name the folder of a finished study",
    "shards build floder x y": "did you mean folder?",
    "shards build folder missing out": "missing: no such folder",
    "shards index missing": "missing: no such folder of shards",
    "shards describe missing": MISSING,
    "shards audit empty": NO_SET,
    "shards verify missing": MISSING,
    "shards verfy x": "did you mean verify?",
    "bench laoder x": "did you mean loader?",
    "bench loader missing": f"SHARDS: {MISSING}",
    "bench threads missing": f"SHARDS: {MISSING}",
    "bench gpu missing": f"SHARDS: {MISSING}",
    "bench gpu --parts WRONG": "unknown part 'WRONG'; there are: step, decode, pixels, train",
    "bench gpu --pixels 2": "pixels",
    "bench near empty": f"SHARDS: {NO_SET}",
    "bench shards missing": "missing: no such file or folder",
    "bench step --workers 0": "bench step: --workers, --steps, --repeats and --crop must be at least 1",
    "bench checkpoint --repeats 0": "bench checkpoint: --repeats, --steps and --batch-size must be at least 1",
    "bench step --width x": "--width",
    "demo --sede 1": "unknown flag --sede; did you mean --seed?",
    "doctor --json -": "--json -: name a file; standard output is /dev/stdout",
    "doctor --cluster": "--cluster: name the cluster with --ray.address HOST:PORT",
    "doctor --ray.address nonsense": "--ray.address nonsense: give HOST:PORT",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Of each line: exit code, what was said, and what is imported by then that takes long."""
    folder = tmp_path_factory.mktemp("wrong")
    for split in ("train", "test"):
        shard_set(folder / "set" / split, [faces(4)], split=split)
    (folder / "empty").mkdir()
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "list.json").write_text("[]")
    for plan, shards in (("plan.yaml", "missing"), ("set.yaml", "set")):
        (folder / plan).write_text(f"data: {{a: {{shards: {shards}}}}}\ntrainings: {{a: {{data: a}}}}\n")
    ended = subprocess.run(
        [sys.executable, "-c", EACH, *HEAVY],
        input=json.dumps([line.split() for line in WRONG]),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environment(), "RAY_ADDRESS": ""},
    )
    assert ended.returncode == 0, ended.stderr
    answers = map(json.loads, ended.stdout.replace(f"{folder}/", "").splitlines())
    return dict(zip(WRONG, answers, strict=True))


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_use_is_one_line_before_anything_is_imported_that_takes_seconds(answers, line):
    code, said, heavy = answers[line]
    assert (code, len(said.splitlines()), heavy) == (2, 1, [])
    assert said.startswith("fer-dist: ")
    assert WRONG[line] in said
