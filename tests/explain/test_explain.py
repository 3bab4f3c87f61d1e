"""Where a network looks: maps, gates and attribution against plain hooks and loops, regions against by-hand masks."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support.faces import faces, shard_set
from support.own_networks import InParts, Small
from support.page import Page
from support.scenes import astronaut, needs_detector
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from fer_dist.cli.commands import main
from fer_dist.config.settings import Config, DataConfig, ExplainConfig, ModelConfig
from fer_dist.data.emotions import SEVEN
from fer_dist.data.loading.reader import Reader
from fer_dist.errors import InputError
from fer_dist.explain.attribution import CONTROLS, attribution_of, control
from fer_dist.explain.blocks import blocks_of, watched
from fer_dist.explain.explain import explain, untrained
from fer_dist.explain.faithfulness import beaten, correlation, deletion_and_insertion, hidden_scores
from fer_dist.explain.gates import f_ratios, gate_measures, gates_between
from fer_dist.explain.hiding import FILLS, hide
from fer_dist.explain.maps import RIGHT, WRONG, Averages, Example, group_of, min_max, reduced
from fer_dist.explain.regions import ALL_REGIONS, TEMPLATE, detect_points, elsewhere, five_points, masks_of, place
from fer_dist.model import SEResNet18
from fer_dist.runs.checkpoint import Checkpoints, Snapshot
from fer_dist.runs.network import build, network_of

IDS = np.arange(4, dtype=np.uint64)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return SEResNet18(7, width=16).eval()


@pytest.fixture
def crops():
    torch.manual_seed(4)
    return torch.randn(4, 3, 48, 48)


@pytest.mark.parametrize(("side", "shapes"), [(224, [56, 56, 28, 28, 14, 14, 7, 7]), (48, [12, 12, 6, 6, 3, 3, 2, 2])])
def test_the_eight_blocks_have_the_shapes_that_the_networks_arithmetic_gives(model, side, shapes):
    blocks = blocks_of(model)
    with torch.no_grad(), watched(blocks) as seen:
        model(torch.zeros(1, 3, side, side))
    assert [block.name for block in blocks] == [f"stage {s}, block {b}" for s in (1, 2, 3, 4) for b in (1, 2)]
    assert [list(seen.after[block.name].shape[1:]) for block in blocks] == [
        [channels, shape, shape] for channels, shape in zip((16, 16, 32, 32, 64, 64, 128, 128), shapes, strict=True)
    ]
    assert [seen.gates[block.name].shape[1] for block in blocks] == [16, 16, 32, 32, 64, 64, 128, 128]


def test_maps_and_gates_equal_those_of_the_blocks_own_formula(model, crops):
    blocks = blocks_of(model)
    with torch.no_grad(), watched(blocks) as seen:
        model(crops)
        x = model.pool(torch.relu(model.norm(model.conv(crops))))
        for block, inner in zip(blocks, [b for stage in model.stages for b in stage], strict=True):
            residual = inner.norm2(inner.conv2(torch.relu(inner.norm1(inner.conv1(x)))))
            s = torch.sigmoid(inner.se.expand(torch.relu(inner.se.reduce(residual.mean((2, 3))))))
            scaled = residual * s[:, :, None, None]
            x = torch.relu(scaled + inner.shortcut(x))
            found = {how: reduced(seen, block.name, how) for how in ("mean", "weighted", "before", "strongest")}
            torch.testing.assert_close(seen.gates[block.name], s)
            torch.testing.assert_close(found["mean"], scaled.mean(1))
            torch.testing.assert_close(found["before"], residual.mean(1))
            weighted = (scaled * s[:, :, None, None]).sum(1) / s.sum(1)[:, None, None]
            torch.testing.assert_close(found["weighted"], weighted)
            best = s[0].argsort(descending=True)[:16]
            torch.testing.assert_close(found["strongest"][0], scaled[0, best].mean(0))
    normalised = min_max(found["mean"])
    assert (normalised.amin((1, 2)) == 0).all()
    torch.testing.assert_close(normalised.amax((1, 2)), torch.ones(4))
    assert (min_max(torch.full((1, 2, 2), 3.0)) == 0).all()
    # Nothing is left hanging on the network.
    assert not any(module._forward_hooks for module in model.modules())


def test_grad_cam_and_its_product_form_equal_a_computation_with_plain_hooks(model, crops):
    blocks = blocks_of(model)
    with torch.no_grad():
        target = model(crops).argmax(1)
    kept = {}

    def note(module, given, made):
        made.retain_grad()
        kept["a"] = made

    handle = blocks[-1].module.register_forward_hook(note)
    model(crops).gather(1, target[:, None]).sum().backward()
    handle.remove()
    a, gradient = kept["a"].detach(), kept["a"].grad
    cam = (gradient.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True).relu()
    product = (gradient * a).sum(1, keepdim=True).relu()
    for name, small in (("grad-cam", cam), ("hirescam", product)):
        expected = F.interpolate(small, (48, 48), mode="bilinear", align_corners=False)[:, 0]
        torch.testing.assert_close(attribution_of(name, model, blocks)(crops, target), expected, atol=1e-6, rtol=1e-4)


def test_integrated_gradients_and_occlusion_equal_loops(crops):
    torch.manual_seed(5)
    model = Small(7).eval()
    target = torch.tensor([0, 1, 2, 3])
    nodes, weights = np.polynomial.legendre.leggauss(16)
    total = torch.zeros_like(crops)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        x = (float(node) * crops).requires_grad_()
        model(x).gather(1, target[:, None]).sum().backward()
        total += float(weight) * x.grad
    expected = (crops * total).abs().sum(1)
    torch.testing.assert_close(
        attribution_of("integrated-gradients", model, [])(crops, target), expected, atol=1e-5, rtol=1e-3
    )
    found = attribution_of("occlusion", model, [])(crops, target)
    with torch.no_grad():
        before = model(crops).gather(1, target[:, None])[:, 0]
        falls, times = torch.zeros(4, 48, 48), torch.zeros(48, 48)
        for top in range(0, 48 - 8 + 1, 4):
            for left in range(0, 48 - 8 + 1, 4):
                hidden = crops.clone()
                hidden[:, :, top : top + 8, left : left + 8] = 0
                fall = before - model(hidden).gather(1, target[:, None])[:, 0]
                falls[:, top : top + 8, left : left + 8] += fall[:, None, None]
                times[top : top + 8, left : left + 8] += 1
    torch.testing.assert_close(found, (falls / times).relu(), atol=1e-6, rtol=1e-3)


def test_groups_are_the_studys_and_averages_are_means():
    assert (group_of(1, 1, 0.95), group_of(1, 1, 0.9), group_of(1, 2, 0.4)) == (RIGHT, "", WRONG)
    averages = Averages()
    for number, (label, predicted, p) in enumerate([(0, 0, 0.95), (0, 0, 0.99), (0, 1, 0.6), (1, 1, 0.5)]):
        pixels = np.full((3, 2, 2), 10 * number, dtype=np.uint8)
        averages.add(
            Example(str(number), label, predicted, p, pixels, {"b": np.full((1, 1), number, dtype=np.float32)})
        )
    assert averages.counted(("x", "y")) == {RIGHT: {"x": 2, "y": 0}, WRONG: {"x": 1, "y": 0}}
    assert averages.mean(RIGHT, 0, "b").item() == 0.5
    assert averages.mean(RIGHT, 1, "b") is None
    assert averages.examples[RIGHT, 0].key == "1"


def test_gates_that_follow_the_emotion_are_found_and_others_seldom():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    gates = random.uniform(0.2, 0.8, (120, 30))
    gates[:, 7] += 0.3 * (labels == 1)
    found = gate_measures(gates, labels, ("a", "b", "c"), seed=1)
    assert (found["separating"]["channels"], found["separating"]["first"]) == (1, 7)
    assert found["separating"]["p"] == pytest.approx(1 / 201)
    by_hand = [gates[labels == label, 7] for label in range(3)]
    between = sum(len(one) * (one.mean() - gates[:, 7].mean()) ** 2 for one in by_hand) / 2
    within = sum(((one - one.mean()) ** 2).sum() for one in by_hand) / 117
    assert f_ratios(gates, labels)[7] == pytest.approx(between / within)
    draws = [gate_measures(random.uniform(0, 1, (60, 20)), labels[::2], ("a", "b", "c"), n) for n in range(40)]
    assert sum(one["separating"]["channels"] > 0 for one in draws) <= 6  # 2 expected, 7 or more in 0.4 %
    assert gate_measures(gates[:40], labels[:40], ("a", "b", "c"), 0)["separating"] is None
    assert gates_between(gates, gates + 0.2, 0)["p"] == pytest.approx(1 / 201)
    assert gates_between(gates[::2], gates[1::2], 0)["p"] > 0.05


def test_regions_lie_where_the_points_are_also_in_a_face_that_is_turned():
    five = np.array(TEMPLATE) * 100
    turn = np.deg2rad(30)
    turned = (five - 50) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 50
    masks = masks_of(np.stack([five, turned]), 100, 100)
    assert tuple(masks) == ALL_REGIONS
    for at, points in enumerate((five, turned)):
        for region, indices in (("eyes", (0, 1)), ("nose", (2,)), ("mouth", (3, 4))):
            for index in indices:
                x, y = points[index]
                hit = [name for name in ("eyes", "nose", "mouth", "brows") if masks[name][at, int(y), int(x)]]
                assert hit == [region]
        assert not masks["background"][at, 50, 50]
        assert masks["background"][at, 0, 0]
        parts = sum(masks[name][at].int() for name in ("brows", "eyes", "nose", "mouth", "cheeks", "forehead"))
        assert parts.max() == 1
    assert masks["left half"][0, :, :50].all()
    assert not masks["left half"][0, :, 50:].any()
    moved = elsewhere(masks["mouth"], IDS[:2], seed=0)
    assert (moved.sum((1, 2)) == masks["mouth"].sum((1, 2))).all()
    assert not (moved == masks["mouth"]).all()


def test_points_come_from_landmarks_where_there_are_any_and_left_is_the_images():
    five = [[70, 35], [30, 35], [50, 58], [64, 80], [36, 80]]
    assert five_points(five)[:2].tolist() == [[30, 35], [70, 35]]
    many = np.zeros((68, 2))
    many[36:42], many[42:48], many[30], many[48], many[54] = [30, 35], [70, 35], [50, 58], [36, 80], [64, 80]
    assert five_points(many.tolist()).tolist() == [[30, 35], [70, 35], [50, 58], [36, 80], [64, 80]]
    for wrong in (None, [], [[1, 2]] * 5, [[1, "x"]] * 5, [[float("nan"), 1]] * 5, 3):
        assert five_points(wrong) is None
    images = [Image.new("L", size) for size in ((200, 100), (10, 10), (50, 100))]
    own = np.array(five) / 2
    facts = [{"landmarks": five}, {}, {}]
    placed = place(facts, images, 64, 56, lambda image: own if image.width == 50 else None)
    assert placed.sources == ("landmarks", "template", "detector")
    assert placed.points[2, 0].tolist() == pytest.approx([35 * 64 / 50 - 4, 17.5 * 64 / 100 - 4])
    assert placed.points[0, 0].tolist() == pytest.approx([30 * 64 / 200 - 4, 35 * 64 / 100 - 4])
    assert placed.points[1, 0].tolist() == pytest.approx([TEMPLATE[0][0] * 64 - 4, TEMPLATE[0][1] * 64 - 4])


def test_the_detector_finds_the_points_of_a_face_that_fills_its_image_also_where_it_is_small_and_grey():
    needs_detector()
    face = astronaut().crop((165, 50, 290, 175))
    eyes = np.array([[203.5 - 165, 100.5 - 50], [246.5 - 165, 103.0 - 50]])
    for side in (125, 48):
        found = detect_points(face.resize((side, side)).convert("L"))
        np.testing.assert_allclose(found[:2] * 125 / side, eyes, atol=8)
    assert detect_points(Image.new("RGB", (48, 48))) is None


def test_controls_know_nothing_of_the_network_and_are_of_the_image_or_of_its_place_alone(crops):
    for name in CONTROLS:
        found = control(name, crops, IDS, 0)
        assert found.shape == (4, 48, 48)
        assert (found >= 0).all()
        assert torch.equal(found[1:], control(name, crops[1:], IDS[1:], 0))
    flat = torch.ones(1, 3, 8, 8)
    assert (control("sobel", flat, IDS[:1], 0) == 0).all()
    flat[..., 4:] = 2
    assert control("sobel", flat, IDS[:1], 0)[0, 4].nonzero().flatten().tolist() == [3, 4]


def test_a_hidden_region_is_filled_and_the_rest_stays(crops):
    mask = torch.zeros(4, 48, 48, dtype=torch.bool)
    mask[:, 10:20, 5:30] = True
    for fill in FILLS:
        hidden = hide(crops, mask, fill, IDS, 0)
        same = (hidden == crops).all(1)
        assert same[~mask].all()
        assert not same[mask].any()
        assert torch.equal(hidden, hide(crops, mask, fill, IDS, 0))


class Corner(nn.Module):
    """Goes by the brightness of one corner alone."""

    def forward(self, x):
        bright = x[:, :, :14, :14].mean((1, 2, 3))
        return torch.stack([bright, -bright], dim=1) * 8


def test_a_map_of_what_the_network_goes_by_beats_controls_in_each_measure_and_a_wrong_one_in_none():
    torch.manual_seed(0)
    images, ids = torch.rand(64, 3, 56, 56), np.arange(64, dtype=np.uint64)
    images[:, :, :14, :14] += 0.5
    model, target = Corner(), torch.zeros(64, dtype=torch.int64)
    right, wrong = torch.zeros(64, 56, 56), torch.zeros(64, 56, 56)
    right[:, :14, :14], wrong[:, 35:49, 35:49] = 1, 1
    maps = {"right": right, "wrong": wrong, **{name: control(name, images, ids, 0) for name in CONTROLS}}
    subsets, falls = hidden_scores(model, images, target, ids, 0)
    values = {}
    for name, found in maps.items():
        deleted, inserted = deletion_and_insertion(model, images, target, found)
        related = correlation(found, subsets, falls)
        measured = {"deletion": deleted, "insertion": inserted, "correlation": related}
        values[name] = {measure: one.double().numpy() for measure, one in measured.items()}
    assert beaten(values, "right", CONTROLS) == dict.fromkeys(("deletion", "insertion", "correlation"), True)
    assert beaten(values, "wrong", CONTROLS) == dict.fromkeys(("deletion", "insertion", "correlation"), False)
    assert (correlation(torch.ones(64, 56, 56), subsets, falls) == 0).all()
    assert correlation(right, subsets, falls).mean() > 0.9


@torch.no_grad()
def test_measures_of_faithfulness_equal_loops_over_images_and_pixels():
    torch.manual_seed(1)
    images, maps, ids = torch.rand(3, 3, 16, 16), torch.rand(3, 16, 16), np.arange(3, dtype=np.uint64)
    model, target = Small(7).eval(), torch.tensor([2, 0, 5])
    subsets, falls = hidden_scores(model, images, target, ids, 0)
    deleted, inserted = deletion_and_insertion(model, images, target, maps)
    related = correlation(maps, subsets, falls)

    def answer(image, at):
        return model(image[None])[0, target[at]]

    for at in range(3):
        image, grey = images[at], images[at].mean((1, 2))
        soft = F.avg_pool2d(F.pad(images[at : at + 1], (2,) * 4, mode="replicate"), 5, stride=1)[0]
        order = sorted(range(256), key=lambda pixel: -float(maps[at].flatten()[pixel]))
        hidden, shown = image.clone(), soft.clone()
        ways = [], []
        for step in range(1, 8):
            for pixel in order[32 * (step - 1) : 32 * step]:
                row, column = divmod(pixel, 16)
                hidden[:, row, column] = grey
                shown[:, row, column] = image[:, row, column]
            for way, one in zip(ways, (hidden, shown), strict=True):
                way.append(float(model(one[None]).softmax(1)[0, target[at]]))
        assert float(deleted[at]) == pytest.approx(np.mean(ways[0]), abs=1e-6)
        assert float(inserted[at]) == pytest.approx(np.mean(ways[1]), abs=1e-6)
        sums, lost = [], []
        for subset in subsets[:, at]:
            # A quarter of the 49 squares, each whole.
            assert 0.15 < subset.float().mean() < 0.35
            without = torch.where(subset, grey[:, None, None], image)
            sums.append(float(maps[at][subset].sum()))
            lost.append(float(answer(image, at) - answer(without, at)))
        assert falls[:, at].tolist() == pytest.approx(lost, abs=1e-6)
        assert float(related[at]) == pytest.approx(np.corrcoef(sums, lost)[0, 1], abs=1e-4)


@pytest.mark.parametrize("name", ["timm:test_resnet", "support.own_networks:InParts", "support.own_networks:Small"])
def test_other_networks_have_maps_of_the_parts_that_they_name_and_no_gates(name, tmp_path):
    config = Config(DataConfig(size=40, crop=36), ModelConfig(network=name))
    network = network_of(config)
    reader = Reader(shard_set(tmp_path / "test", [faces(12)], split="test"), SEVEN)
    settings = ExplainConfig(
        (), network=(name,), batch_size=5, faithfulness_samples=3, methods=("occlusion",), references=0
    )
    found = explain(build(network, (name,)).eval(), network, reader, settings)
    blocks = found.values["blocks"]
    assert all(one["gates"] is None for one in blocks.values())
    assert (
        list(blocks)
        == {
            "timm:test_resnet": ["act1", "layer1", "layer2", "layer3", "layer4"],
            "support.own_networks:InParts": ["part 1", "part 2"],
            "support.own_networks:Small": [],
        }[name]
    )
    assert found.values["images"] == 12
    if name.endswith("Small"):
        with pytest.raises(InputError, match=r"--methods grad-cam: no block of this network has feature maps"):
            explain(build(network, (name,)).eval(), network, reader, replace(settings, methods=("grad-cam",)))


def test_the_untrained_network_is_the_same_each_time_and_leaves_torchs_generator_alone(crops):
    network = network_of(Config(DataConfig(size=48, crop=48), ModelConfig(width=16)))
    before = torch.get_rng_state()
    one, other = (untrained(network, crops, ExplainConfig(())) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one(crops), other(crops))
    assert InParts(7).parts()[0]


def shown(run):
    """The tags of the images in TensorBoard."""
    events = EventAccumulator(str(run)).Reload()
    return set(events.Tags()["images"])


def test_explain_writes_every_number_and_figure_and_prints_a_table(tmp_path, capsys):
    network = network_of(Config(DataConfig(size=40, crop=36), ModelConfig(width=16)))
    torch.manual_seed(0)
    Checkpoints(tmp_path / "run").save(Snapshot(1, dict(build(network).state_dict()), {}), network)
    sets = [str(shard_set(tmp_path / split, [faces(12, emotions=6)], split=split)) for split in ("val", "test")]
    words = ["explain", str(tmp_path / "run"), "--data", *sets, "--batch-size", "8", "--faithfulness-samples", "3"]
    words += ["--device", "cpu", "--threads", "1", "--json", str(tmp_path / "all.json"), "--reference-samples", "9"]
    words += ["--html", str(tmp_path / "page.html")]
    (tmp_path / "study.json").write_text("of a study")
    assert main([*words, "--methods", "grad-cam", "hirescam"]) == 0
    # What lies beside the page is not touched, and what belongs to the page can be reached from it.
    assert (tmp_path / "study.json").read_text() == "of a study"
    page = (tmp_path / "page.html").read_text()
    links = [link for link in Page(page).values("a", "href") if not link.startswith("#")]
    assert "page-files/tables/claims.csv" in links
    assert [link for link in links if not (tmp_path / link).is_file()] == []
    assert "Where the network looks" in page
    assert page.count('src="data:image/webp;base64') == 6
    assert shown(tmp_path / "run") == {
        f"explain/drawn-{split}/{name}"
        for split in ("val", "test")
        for name in ("maps-right", "maps-misclassified", "points")
    }
    told = capsys.readouterr()
    assert "share per area" in told.out
    assert "regions by template of 12" in told.err
    folder = tmp_path / "run" / "explain"
    values = json.loads((folder / "drawn-test.json").read_text())
    assert values == json.loads((tmp_path / "all.json").read_text())["drawn-test"]
    assert values["images"] == 12
    assert sum(values["groups"][WRONG].values()) > 0
    assert set(values["hidden"]) == {"mean"}
    assert set(values["hidden"]["mean"]) == set(ALL_REGIONS)
    maps = {"grad-cam", "hirescam", *CONTROLS}
    maps |= {"grad-cam, random weights", "hirescam, random weights"}
    assert set(values["regions"]) == {"area", *maps}
    assert set(values["faithfulness"]) == maps
    assert list(values["cascade"]) == ["grad-cam", "hirescam"]
    assert list(values["cascade"]["grad-cam"])[::10] == ["head", "conv"]
    assert values["references"] == 10
    claim = values["claims"]["right half over left half"]["all emotions"]
    assert len(claim["references"]) == 10
    assert values["verdicts"]["right half over left half"]["all emotions"]["verdict"] == "not shown"
    assert "right half over left half: not shown (excess" in told.err
    halves = [values["regions"]["uniform"][name]["mean"] for name in ("left half", "right half")]
    assert halves == pytest.approx([0.5, 0.5])
    assert values["blocks"]["stage 1, block 1"]["gates_against"]["drawn-val"]["p"] > 0.05
    with (folder / "drawn-test-regions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["map"] for row in rows} == maps
    for kind in ("maps-right", "maps-misclassified", "averages-misclassified", "gates", "hidden-mean", "points"):
        assert (folder / f"drawn-test-{kind}.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--methods", "lime"],
            "--methods lime: no such method; there are grad-cam, hirescam, integ",
        ),
        (["--samples", "-1"], "--samples -1 is too small"),
        (["--network", "nothing"], "--network nothing: no network"),
        ([], "no checkpoint; is this a run folder"),
    ],
)
def test_what_an_explanation_cannot_be_given_is_one_line(more, message, tmp_path, capsys):
    data = str(shard_set(tmp_path / "test", [faces(4)], split="test"))
    (tmp_path / "run").mkdir()
    assert main(["explain", str(tmp_path / "run"), "--data", data, *more]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
