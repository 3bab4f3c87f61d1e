"""Where a network looks on one set: one pass over some of its images, and the numbers that come of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_dist.config.settings import DataConfig, ExplainConfig
from fer_dist.data.faces.detect import has_detector
from fer_dist.data.images import opened
from fer_dist.data.loading.loader import Batch, Placement, evaluation_loader
from fer_dist.data.loading.order import cut
from fer_dist.data.loading.reader import Reader, choose
from fer_dist.distributed.world import default_threads
from fer_dist.errors import InputError
from fer_dist.evaluate.predict import evaluating, evaluation_data, mask_of
from fer_dist.evaluate.robustness.measure import to_pixels
from fer_dist.explain.attribution import CONTROLS, Attribution, attribution_of, control, enlarged
from fer_dist.explain.blocks import blocks_of, watched
from fer_dist.explain.claims import MASKS, Known, claims_of, right_and_wrong
from fer_dist.explain.control_networks import RANDOM_LABELS, RANDOM_WEIGHTS, Reference, cascaded, untrained
from fer_dist.explain.faithfulness import beaten, correlation, deletion_and_insertion, hidden_scores
from fer_dist.explain.gates import gate_measures
from fer_dist.explain.hiding import Fill, Hidden, hide, masks_to_hide, predict_hidden
from fer_dist.explain.maps import RIGHT, WRONG, Averages, Example, edges_of, group_of, min_max, pearson, reduced
from fer_dist.explain.methods import chosen_methods
from fer_dist.explain.regions import ALL_REGIONS, HALVES, REGIONS, detect_points, masks_of, place
from fer_dist.runs.network import Network, on_device


@dataclass
class Explained:
    """What is known of a set.

    values: ready for JSON. averages: maps to be drawn. gates: block -> [N, C], to compare sets. points: some crops with
    the points that place their regions: uint8 [3, H, W], [5, 2], key.
    """

    values: dict[str, Any]
    averages: Averages
    gates: dict[str, NDArray[np.float32]]
    points: list[tuple[NDArray[np.uint8], NDArray[np.float64], str]]


@dataclass
class _Rows:
    """What is gathered of each image; each list has an entry a batch."""

    labels: list[NDArray[np.int64]] = field(default_factory=list)
    winners: list[NDArray[np.int64]] = field(default_factory=list)
    p: list[NDArray[np.float64]] = field(default_factory=list)
    gates: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    areas: list[NDArray[np.float64]] = field(default_factory=list)
    shares: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    hidden: dict[tuple[Fill, str, str], list[Hidden]] = field(default_factory=dict)
    faithful: dict[tuple[str, str], list[NDArray[np.float64]]] = field(default_factory=dict)
    """(map, measure) -> its values."""
    sources: list[str] = field(default_factory=list)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    edges: list[NDArray[np.float64]] = field(default_factory=list)
    """[B, blocks]: how each block's map goes with the image's edges."""
    map_shares: list[NDArray[np.float64]] = field(default_factory=list)
    """[B, blocks * regions]: the shares of each block's map."""
    cascade: dict[tuple[str, str], list[NDArray[np.float64]]] = field(default_factory=dict)
    """(method, part that was drawn anew last, or RANDOM_LABELS) -> the correlation with the network's own map."""


CASCADE_IMAGES = 32
"""On which each method is tried while the network's parts are drawn anew: of those whose maps are measured."""

SHEET = 40
"""Crops on the sheet that shows where the points were found."""


def explain(
    model: nn.Module,
    network: Network,
    reader: Reader,
    config: ExplainConfig,
    progress: Callable[[int, int | None], None] | None = None,
    control: nn.Module | None = None,
) -> Explained:
    """Look at some images of a set, the same ones for every network. model: on its device, in evaluation mode.

    control: the same network, trained on random labels: each method is shown on it as well.
    Emotions that the set lacks are masked. Float32. Raises InputError where no image decodes, or a method cannot be.
    """
    device = next(model.parameters()).device
    chosen = choose(reader, config.samples)
    placement = Placement(0, 1, device, half=False, threads=config.threads or default_threads())
    data = evaluation_data(network, DataConfig(on_bad=config.on_bad))
    parts = cut(chosen, config.batch_size)
    loader = evaluation_loader(data, reader, placement, config.batch_size, parts)
    look = _Look(model, network, reader, config, on_device(control, device) if control else None)
    with evaluating(model):
        for number, batch in enumerate(loader):
            look.take(batch)
            if progress:
                progress(number + 1, len(parts))
    if not look.rows.labels:
        raise InputError(f"{reader.manifest.name}: none of the {len(chosen)} images decodes")
    return look.explained(len(loader.bad))


class _Look:
    """One pass over a set."""

    def __init__(
        self, model: nn.Module, network: Network, reader: Reader, config: ExplainConfig, control: nn.Module | None
    ) -> None:
        self.model, self.network, self.reader, self.config, self.control = model, network, reader, config, control
        self.blocks = blocks_of(model)
        self.mask = mask_of(network, reader).to(next(model.parameters()).device)
        self.methods = self._methods_on(model)
        self.detector = detect_points if config.points == "auto" and has_detector() else None
        self.references: list[Reference] = []
        self.controls: dict[str, dict[str, Attribution]] = {}
        """RANDOM_WEIGHTS, RANDOM_LABELS -> the methods on that network."""
        self.cascade: list[tuple[str, dict[str, Attribution]]] = []
        self.rows, self.averages = _Rows(), Averages()
        self.points: list[tuple[NDArray[np.uint8], NDArray[np.float64], str]] = []

    def _methods_on(self, model: nn.Module) -> dict[str, Attribution]:
        blocks = blocks_of(model)
        return {name: attribution_of(name, model, blocks) for name in chosen_methods(self.config)}

    def take(self, batch: Batch) -> None:
        crops, ids = batch.crops.float(), batch.samples.ids
        labels = batch.samples.labels
        if not self.rows.labels:
            self._draw_weights(crops)
        with torch.no_grad(), watched(self.blocks) as seen:
            probabilities = (self.model(crops) + self.mask).softmax(1)
        p, winner = probabilities.max(1)
        rows = self.rows
        rows.labels.append(labels)
        rows.winners.append(winner.cpu().numpy())
        rows.p.append(p.double().cpu().numpy())
        on_device = {name: min_max(reduced(seen, name, self.config.reduction)) for name in seen.after}
        maps = {name: found.cpu().numpy() for name, found in on_device.items()}
        rows.shapes |= {name: list(found.shape[1:]) for name, found in seen.after.items()}
        for name, gates in seen.gates.items():
            rows.gates.setdefault(name, []).append(gates.float().cpu().numpy())
        pixels = to_pixels(crops, self.network).cpu().numpy()
        for at, key in enumerate(batch.samples.keys):
            example = Example(
                key,
                int(labels[at]),
                int(winner[at]),
                float(p[at]),
                pixels[at],
                {name: found[at] for name, found in maps.items()},
            )
            self.averages.add(example)
        masks = self._regions(batch, pixels)
        rows.areas.append(np.stack([masks[name].double().mean((1, 2)).numpy() for name in ALL_REGIONS], axis=1))
        rows.edges.append(edges_of(list(on_device.values()), crops))
        shares = [_shares(enlarged(found[:, None], crops), masks) for found in on_device.values()]
        rows.map_shares.append(np.concatenate(shares, axis=1) if shares else np.zeros((len(labels), 0)))
        self._attribute(crops, winner, ids, masks)
        self._hide(crops, winner, ids, masks)

    def _regions(self, batch: Batch, pixels: NDArray[np.uint8]) -> dict[str, Tensor]:
        facts = self.reader.facts(batch.positions)
        images = [opened(content.tobytes()) for content in batch.samples.content]
        placed = place(facts, images, self.network.size, self.network.crop, self.detector)
        self.rows.sources += placed.sources
        for at in range(min(len(pixels), SHEET - len(self.points))):
            self.points.append((pixels[at], placed.points[at], batch.samples.keys[at]))
        return masks_of(placed.points, *pixels.shape[-2:])

    def _attribute(self, crops: Tensor, target: Tensor, ids: NDArray[np.uint64], masks: dict[str, Tensor]) -> None:
        if not self.methods:
            return
        maps: dict[str, Tensor] = {name: method(crops, target) for name, method in self.methods.items()}
        for other, methods in self.controls.items():
            maps |= {f"{name}, {other}": method(crops, target) for name, method in methods.items()}
        for name in CONTROLS:
            maps[name] = control(name, crops, ids, self.config.seed)
        for name, found in maps.items():
            self._share(name, found, masks)
        done = sum(map(len, self.rows.faithful.get((CONTROLS[0], "deletion"), [])))
        count = min(len(crops), self.config.faithfulness_samples - done)
        if count > 0:
            some = {name: found[:count] for name, found in maps.items()}
            self._measure(crops[:count], target[:count], ids[:count], some)
            count = max(min(count, CASCADE_IMAGES - done), 0)
            for part, methods in self.cascade if count else ():
                for name, method in methods.items():
                    now = method(crops[:count], target[:count])
                    related = pearson(some[name][:count].flatten(1).T, now.flatten(1).T)
                    self.rows.cascade.setdefault((name, part), []).append(related.double().cpu().numpy())

    def _draw_weights(self, crops: Tensor) -> None:
        """The networks beside which this one stands."""
        config = self.config
        if self.methods:
            fresh = untrained(self.network, crops, config)
            self.controls[RANDOM_WEIGHTS] = self._methods_on(fresh)
            for part, partly in cascaded(self.model, fresh, crops):
                self.cascade.append((part, self._methods_on(partly)))
            if self.control:
                self.controls[RANDOM_LABELS] = self._methods_on(self.control)
                self.cascade.append((RANDOM_LABELS, self.controls[RANDOM_LABELS]))
        for number in range(config.references):
            self.references.append(Reference(untrained(self.network, crops, config, number + 1), config, self.mask))

    def _share(self, name: str, maps: Tensor, masks: dict[str, Tensor]) -> None:
        self.rows.shares.setdefault(name, []).append(_shares(maps, masks))

    @torch.no_grad()
    def _measure(self, crops: Tensor, target: Tensor, ids: NDArray[np.uint64], maps: dict[str, Tensor]) -> None:
        subsets, falls = hidden_scores(self.model, crops, target, ids, self.config.seed)
        for name, found in maps.items():
            deleted, inserted = deletion_and_insertion(self.model, crops, target, found)
            related = correlation(found, subsets, falls)
            for measure, values in (("deletion", deleted), ("insertion", inserted), ("correlation", related)):
                self.rows.faithful.setdefault((name, measure), []).append(values.double().cpu().numpy())

    @torch.no_grad()
    def _hide(self, crops: Tensor, target: Tensor, ids: NDArray[np.uint64], masks: dict[str, Tensor]) -> None:
        to_hide = masks_to_hide(masks, ids, self.config.seed)
        for reference in self.references:
            reference.take(crops, self.rows.labels[-1], ids, to_hide)
        for (region, where), mask in to_hide.items():
            for fill in self.config.fills:
                hidden = hide(crops, mask, fill, ids, self.config.seed)
                found = predict_hidden(self.model, hidden, target, mask, self.mask)
                self.rows.hidden.setdefault((fill, region, where), []).append(found)

    def explained(self, bad: int) -> Explained:
        rows, emotions = self.rows, self.network.emotions
        labels, winners = np.concatenate(rows.labels), np.concatenate(rows.winners)
        gates = {name: np.concatenate(found) for name, found in rows.gates.items()}
        faithful = self._of_faithfulness()
        values: dict[str, Any] = {
            "images": len(labels),
            "did_not_decode": bad,
            "seed": self.config.seed,
            "emotions": list(emotions),
            "masked": [name for name in emotions if name not in self.reader.manifest.emotions],
            "accuracy": float((labels == winners).mean()),
            "groups": self.averages.counted(emotions),
            "methods": list(self.methods),
            "reduction": self.config.reduction,
            "blocks": {
                block.name: {
                    "shape": rows.shapes.get(block.name),
                    "gates": gate_measures(gates[block.name], labels, emotions, self.config.seed)
                    if block.name in gates
                    else None,
                }
                for block in self.blocks
            },
            "points": {source: rows.sources.count(source) for source in sorted(set(rows.sources))},
            "regions": self._of_regions(),
            "hidden": self._of_hidden(labels, winners),
            "faithfulness": faithful,
            "believed": {
                name: name in faithful and all(faithful[name]["beats_controls"].values()) for name in self.methods
            },
            "cascade": self._of_cascade(),
            "references": len(self.references),
            "claims": self._of_claims(labels),
            "right_and_wrong": self._of_right_and_wrong(labels, winners),
        }
        return Explained(values, self.averages, gates, self.points)

    def _of_regions(self) -> dict[str, Any]:
        """Map -> region -> its share, that per area (1 where it gets as much as its size), and how often it is the
        first, see `first_of`."""
        areas = np.concatenate(self.rows.areas)
        found: dict[str, Any] = {"area": {name: mean_of(areas[:, at]) for at, name in enumerate(ALL_REGIONS)}}
        for name, parts in self.rows.shares.items():
            shares = np.concatenate(parts)
            sizes, first = areas.mean(axis=0).clip(min=1e-12), first_of(shares, areas)
            found[name] = {
                region: mean_of(shares[:, at])
                | {"per_area": float(shares[:, at].mean() / sizes[at]), "first": first[at]}
                for at, region in enumerate(ALL_REGIONS)
            }
        return found

    def _of_hidden(self, labels: NDArray[np.int64], winners: NDArray[np.int64]) -> dict[str, Any]:
        """Fill -> region -> the falls of p and accuracy, and what they are more than those of the controls."""
        p = np.concatenate(self.rows.p)
        is_correct = labels == winners
        found: dict[str, Any] = {}
        areas = np.concatenate(self.rows.areas)
        falls: dict[tuple[str, str, str], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        for (fill, region, where), parts in self.rows.hidden.items():
            now = np.concatenate([part.winners for part in parts])
            lost = is_correct.astype(float) - (labels == now)
            falls[fill, region, where] = p - np.concatenate([part.p for part in parts]), lost
            area = np.concatenate([part.area for part in parts])
            entry = found.setdefault(fill, {}).setdefault(region, {"area": float(area.mean()), "more_than": {}})
            if where:
                pairs = zip(falls[fill, region, ""], falls[fill, region, where], strict=True)
                fall, accuracy = (mean_of(own - other) for own, other in pairs)
                entry["more_than"][where] = {"p": fall, "accuracy": accuracy}
            else:
                entry |= {"p": mean_of(falls[fill, region, ""][0]), "accuracy": mean_of(lost)}
        for fill in self.config.fills:
            first = first_of(np.stack([falls[fill, name, ""][0] for name in ALL_REGIONS], axis=1), areas)
            for region, share in zip(ALL_REGIONS, first, strict=True):
                found[fill][region]["first"] = share
        return found

    def _of_cascade(self) -> dict[str, Any]:
        """Method -> part that was drawn anew last, from the head to the input, and RANDOM_LABELS -> the correlation of
        the maps with the network's own."""
        found: dict[str, Any] = {}
        for (name, part), values in self.rows.cascade.items():
            found.setdefault(name, {})[part] = mean_of(np.concatenate(values))
        return found

    def _of_claims(self, labels: NDArray[np.int64]) -> dict[str, Any]:
        if not self.references:
            return {}
        hidden, fill = self.rows.hidden, self.config.fills[0]
        answers = {mask: np.concatenate([part.winners for part in hidden[(fill, *mask)]]) for mask in MASKS}
        own = Known(labels, answers, np.concatenate(self.rows.edges))
        return claims_of(own, [reference.known() for reference in self.references], self.network.emotions)

    def _of_right_and_wrong(self, labels: NDArray[np.int64], winners: NDArray[np.int64]) -> dict[str, Any] | None:
        p = np.concatenate(self.rows.p)
        groups = np.array([group_of(*one) for one in zip(labels, winners, p, strict=True)])
        maps, seed = np.concatenate(self.rows.map_shares), self.config.seed
        found = right_and_wrong(maps, labels, groups == RIGHT, groups == WRONG, seed) if maps.shape[1] else None
        if found:
            block, region = divmod(found.pop("largest"), len(ALL_REGIONS))
            found |= {"block": list(self.rows.shapes)[block], "region": ALL_REGIONS[region]}
        return found

    def _of_faithfulness(self) -> dict[str, Any]:
        """Map -> measure -> its mean, and for methods whether they beat every control in it: the maps that know nothing
        of the network, and what the method says of a control network."""
        values: dict[str, dict[str, NDArray[np.float64]]] = {}
        for (whose, measure), parts in self.rows.faithful.items():
            values.setdefault(whose, {})[measure] = np.concatenate(parts)
        return {
            name: {
                "measures": {measure: mean_of(found) for measure, found in measures.items()},
                "beats_controls": beaten(values, name, (*CONTROLS, *(f"{name}, {other}" for other in self.controls)))
                if name in self.methods
                else None,
            }
            for name, measures in values.items()
        }


def _shares(maps: Tensor, masks: dict[str, Tensor]) -> NDArray[np.float64]:
    """float [B, regions]: the part of each map's sum that lies in each region; a map of zeros looks nowhere."""
    total = maps.sum((1, 2)).clamp(min=1e-20)
    shares = [(maps * masks[region].to(maps.device)).sum((1, 2)) / total for region in ALL_REGIONS]
    return torch.stack(shares, dim=1).double().cpu().numpy()


def first_of(shares: NDArray[np.float64], areas: NDArray[np.float64]) -> list[float]:
    """Of each region, in how many of the images, as a part of 1, it gets the most for its size; a half: of the two.

    shares, areas: float [N, regions], in the order of ALL_REGIONS; the background is no region of a face.
    """
    ratios = np.where(areas > 0, shares / np.where(areas > 0, areas, 1), -np.inf)
    found = np.zeros(len(ALL_REGIONS))
    for names in (REGIONS, HALVES):
        at = np.array([ALL_REGIONS.index(name) for name in names])
        firsts = at[ratios[:, at].argmax(axis=1)][shares[:, at].max(axis=1) > 0]
        found += np.bincount(firsts, minlength=len(found)) / len(shares)
    return [float(share) for share in found]


def mean_of(values: NDArray[np.float64]) -> dict[str, Any]:
    """The mean over images with its 95 % interval (normal), ready for JSON."""
    mean = float(values.mean())
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")
    interval = [mean - 1.96 * error, mean + 1.96 * error] if np.isfinite(error) else None
    return {"mean": mean, "interval": interval}
