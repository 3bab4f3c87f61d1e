"""The study's conclusions as tests: statistics against their definitions, verdicts on networks whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_dist.config.settings import Config, DataConfig, ExplainConfig, ModelConfig
from fer_dist.explain.claims import (
    ALIKE,
    ALL,
    EDGES,
    MASKS,
    OF_REGIONS,
    Known,
    Measured,
    against,
    claims_of,
    decided,
    fall_between,
    informedness_weights,
    over_networks,
    right_and_wrong,
)
from fer_dist.explain.control_networks import cascaded, untrained
from fer_dist.explain.explain import first_of
from fer_dist.explain.regions import ALL_REGIONS
from fer_dist.runs.network import build, network_of

EMOTIONS = ("anger", "fear", "joy")


def informedness(labels, answers, emotion):
    own, other = answers[labels == emotion], answers[labels != emotion]
    return (own == emotion).mean() - (other == emotion).mean()


def knowing(random, images, hidden_by=(), classes=3):
    """A network that is right, and guesses where one of some regions is hidden."""
    labels = random.integers(0, classes, images)
    answers = {
        mask: random.integers(0, classes, images) if mask[0] in hidden_by and not mask[1] else labels for mask in MASKS
    }
    return Known(labels, answers, np.zeros((images, 4)))


def guessing(random, images, classes=3):
    """One that prefers some emotions, more or less so by what is hidden, and knows nothing."""
    labels = random.integers(0, classes, images)
    answers = {mask: random.choice(classes, images, p=random.dirichlet(np.ones(classes))) for mask in MASKS}
    return Known(labels, answers, random.normal(size=(images, 4)))


def values_of(claims, p=None):
    return {"set": {"claims": claims, "right_and_wrong": None if p is None else {"p": p}}}


def test_what_is_tested_is_the_fall_of_informedness_and_its_variance_is_a_resamplings():
    random = np.random.default_rng(0)
    known = guessing(random, 300)
    for emotion in (None, 1):
        table = informedness_weights(known.labels, 3, emotion)
        answers = known.answers["mouth", ""]
        each = [informedness(known.labels, answers, one) for one in ((0, 1, 2) if emotion is None else (emotion,))]
        assert table[known.labels, answers].sum() == pytest.approx(np.mean(each))
        # One emotion whatever is shown: nothing is known.
        assert table[known.labels, np.full(300, 2)].sum() == pytest.approx(0)
        weights = OF_REGIONS["mouth and nose over eyes"]
        found = fall_between(known, weights, 3, emotion)
        drawn = []
        for _ in range(400):
            rows = np.concatenate(
                [random.choice(np.flatnonzero(known.labels == one), (known.labels == one).sum()) for one in range(3)]
            )
            again = Known(known.labels[rows], {mask: of[rows] for mask, of in known.answers.items()}, known.edges)
            drawn.append(fall_between(again, weights, 3, emotion).value)
        assert found.variance == pytest.approx(np.var(drawn), rel=0.25)


def test_what_a_network_goes_by_is_shown_and_its_opposite_contradicted():
    random = np.random.default_rng(1)
    references = [guessing(random, 200) for _ in range(10)]
    verdicts = {}
    for name, hidden in (("mouth", ("mouth", "nose")), ("eyes", ("eyes",)), ("right", ("right half",))):
        known = knowing(random, 200, hidden)
        found = decided(values_of(claims_of(known, references, EMOTIONS)))["set"]
        verdicts[name] = {claim: found[claim][ALL]["verdict"] for claim in OF_REGIONS}
    assert verdicts["mouth"] == {
        "mouth and nose over eyes": "shown",
        "mouth and nose over ears": "shown",
        "right half over left half": "not shown",
    }
    assert verdicts["eyes"]["mouth and nose over eyes"] == "contradicted"
    assert verdicts["right"]["right half over left half"] == "shown"
    assert decided(values_of({}, 0.01))["set"] == {ALIKE: {ALL: {"p": 0.01, "verdict": "contradicted"}}}
    assert decided(values_of({}, 0.2))["set"][ALIKE][ALL]["verdict"] == "not shown"


def test_a_verdict_of_one_test_is_what_its_interval_says():
    verdicts = set()
    for value in np.linspace(-0.5, 0.5, 41):
        test = against(Measured(value, 0.01), [0.1, -0.1, 0.05, 0.0, -0.05])
        found = decided(values_of({EDGES: {ALL: test}}))["set"][EDGES][ALL]["verdict"]
        low, high = test["interval"]
        assert found == ("shown" if low > 0 else "contradicted" if high < 0 else "not shown")
        verdicts.add(found)
    assert verdicts == {"shown", "contradicted", "not shown"}


def test_networks_that_know_nothing_decide_a_claim_as_rarely_as_the_level_says():
    shown = dict.fromkeys((*OF_REGIONS, EDGES), 0)
    for seed in range(200):
        random = np.random.default_rng(seed)
        found = claims_of(guessing(random, 60), [guessing(random, 60) for _ in range(6)], EMOTIONS)
        for claim, of in decided(values_of(found))["set"].items():
            shown[claim] += any(one["verdict"] != "not shown" for one in of.values())
    # Two families of 5 %, the emotions and all together: 20 of 200 expected at most.
    assert max(shown.values()) <= 20, shown
    assert sum(shown.values()) > 0


def test_a_claim_needs_three_references_and_two_emotions():
    random = np.random.default_rng(0)
    known, others = guessing(random, 30), [guessing(random, 30) for _ in range(3)]
    assert claims_of(known, others[:2], EMOTIONS) == {}
    assert claims_of(replace(known, labels=np.zeros(30, dtype=int)), others, EMOTIONS) == {}
    assert set(claims_of(known, others, EMOTIONS)) == {*OF_REGIONS, EDGES}
    assert EDGES not in claims_of(replace(known, edges=known.edges[:, :2]), others, EMOTIONS)


@pytest.mark.parametrize("variance", [0.001, 0.04])
def test_an_excess_is_over_the_references_and_its_error_is_of_one_more_of_them_or_of_the_images(variance):
    found = against(Measured(0.5, variance), [0.1, 0.2, 0.3])
    assert (found["excess"], found["random_weights"]) == pytest.approx((0.3, 0.2))
    error = np.sqrt(max(0.01, variance) + 0.01 / 3)
    # t with two degrees of freedom has a closed form.
    t = 0.3 / error
    assert found["p"] == pytest.approx(0.5 - t / (2 * np.sqrt(2 + t * t)))
    assert found["interval"][0] < 0 < found["interval"][1]
    networks = over_networks([0.5, 0.52, 0.48], [0.1, 0.2, 0.3, 0.2])
    assert networks["networks"] == 3
    assert networks["p"] < 0.01
    assert against(Measured(0.1, 0.01), [0.1, 0.2, 0.3])["p"] > 0.5


def test_maps_that_differ_between_right_and_wrong_images_are_found_and_others_seldom():
    random = np.random.default_rng(0)
    labels, is_right = random.integers(0, 3, 240), random.random(240) < 0.6
    maps = random.normal(size=(240, 12)) + labels[:, None]
    maps[:, 5] += 1.5 * is_right
    found = right_and_wrong(maps, labels, is_right, ~is_right, seed=0)
    assert (found["largest"], found["p"]) == (5, pytest.approx(1 / 401))
    assert found["difference"] == pytest.approx(1.5, abs=0.4)
    assert found["at_most"] > found["difference"]
    assert found["images"] == {"right": int(is_right.sum()), "wrong": int((~is_right).sum())}
    plain = random.normal(size=(40, 60, 12))
    halves = np.arange(60) % 2 == 0
    shown = [right_and_wrong(one, labels[:60], halves, ~halves, 0, draws=60)["p"] < 0.05 for one in plain]
    assert sum(shown) <= 6  # 2 expected, 7 or more in 0.4 %
    assert right_and_wrong(maps, labels, is_right, np.zeros(240, dtype=bool), 0) is None


def test_a_cascade_draws_the_head_first_and_ends_at_the_network_with_random_weights():
    network = network_of(Config(DataConfig(size=40, crop=36), ModelConfig(width=16)))
    torch.manual_seed(0)
    crops = torch.randn(6, 3, 36, 36)
    model, fresh = build(network).eval(), untrained(network, crops, ExplainConfig(()), 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps = dict(cascaded(model, fresh, crops))
    assert list(steps) == ["head", *(f"stages.{s}.{b}" for s in (3, 2, 1, 0) for b in (1, 0)), "norm", "conv"]
    changed = [name for name, value in steps["head"].state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["head.weight", "head.bias"] or changed == ["head.weight"]
    kept = steps["stages.3.0"].state_dict()
    assert torch.equal(kept["stages.2.1.conv2.weight"], before["stages.2.1.conv2.weight"])
    assert torch.equal(kept["stages.3.0.conv1.weight"], fresh.state_dict()["stages.3.0.conv1.weight"])
    torch.testing.assert_close(steps["conv"](crops), fresh(crops))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_first_region_of_an_image_is_the_one_that_gets_the_most_for_its_size():
    shares = np.zeros((4, len(ALL_REGIONS)))
    areas = np.full_like(shares, 0.1)
    at = ALL_REGIONS.index
    areas[:, at("mouth")], areas[:, at("background")] = 0.05, 0.01
    shares[:3, at("mouth")], shares[:3, at("eyes")], shares[:3, at("background")] = 0.2, 0.3, 0.9
    shares[2, at("eyes")] = 0.5
    shares[:2, at("left half")] = 0.1
    # The last image's map is zero everywhere, as is the third's in both halves.
    found = dict(zip(ALL_REGIONS, first_of(shares, areas), strict=True))
    assert {name: value for name, value in found.items() if value} == {"mouth": 0.5, "eyes": 0.25, "left half": 0.5}
