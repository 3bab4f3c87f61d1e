"""The sections of a report, each with its sentences, tables and images; one that has none of them is left out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from fer_dist.report import plots, sentences, tables
from fer_dist.report.differences import gap_tests, transfers
from fer_dist.report.explained import (
    claim_sentences,
    claims_table,
    emotion_claims_table,
    hidden_figures,
    method_sentences,
    methods_table,
    planted_table,
    regions_tables,
)
from fer_dist.report.findings import Gallery, Result, Study, first_models
from fer_dist.report.overview import best_table, overview_figures
from fer_dist.report.plots import PageFigure
from fer_dist.report.published import SOURCE, paper_tables, stand_in_sentence
from fer_dist.report.sentences import model_sentences, transfer_sentence
from fer_dist.report.summary import summary
from fer_dist.report.table import Table


@dataclass(frozen=True)
class Section:
    """name: its anchor. introduction: what is shown, for a paragraph; sentences: what was found, for a list.

    more: figures of further seeds and sets; folded: tables that few look up. A page folds both away, and where
    is_folded the tables as well. maps: paths of images that stand beside the report.
    """

    name: str
    title: str
    introduction: str = ""
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[PageFigure, ...] = ()
    more: tuple[PageFigure, ...] = ()
    folded: tuple[Table, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    maps: tuple[str, ...] = ()
    is_folded: bool = False

    @property
    def is_empty(self) -> bool:
        shown = (self.sentences, self.tables, self.figures, self.more, self.folded, self.galleries, self.maps)
        return not any(shown)

    @property
    def is_background(self) -> bool:
        """Whether it comes after what was found here."""
        return self.name in BACKGROUND


BACKGROUND = frozenset({"published", "training", "data", "models"})


def sections(study: Study) -> list[Section]:
    """In the order of the page, images under names that differ. Figures stand for the first seed of each group."""
    names = {model.name for model in first_models(study)}
    first = [result for result in study.results if result.model in names]
    results = (
        _glance,
        _overall,
        _transfer,
        _seeds,
        _confusions,
        _examples,
        _classes,
        _frequencies,
        _priors,
        _calibration,
    )
    background = (_published, _training, _data, _models)
    found = [make(study, first) for make in (*results, _groups, _duplicates, _robustness, _explained, *background)]
    return _distinct([section for section in found if not section.is_empty])


def _glance(study: Study, first: list[Result]) -> Section:
    shown, drawn = _filled(best_table(study)), tuple(overview_figures(study))
    return Section("glance", "Results at a glance", "", tuple(summary(study)), shown, drawn)


def _published(study: Study, first: list[Result]) -> Section:
    introduction = (
        f"Its tables ({SOURCE}) in their own numbering. A mark says where our value lies: above or below the study's, "
        "or within, where the 95 % interval of the difference holds 0. That interval counts our test images and the "
        "study's and, where the mark is of a mean over seeds, our seeds; how the study's values move with its seed is "
        "not known. A value is marked only where data, labels, splits and settings are the study's. "
        f"{stand_in_sentence(study)}"
    )
    if not study.maps:
        introduction = f"{introduction.strip()} Its feature maps have no counterpart here."
    found = tuple(paper_tables(study))
    is_marked = any(cell.mark for table in found for row in table.rows for cell in row)
    if found and not is_marked:
        introduction = f"{NOTHING_COMPARABLE} {introduction.strip()}"
    return Section(
        "published", "Beside the published study", introduction.strip(), tables=found, is_folded=not is_marked
    )


NOTHING_COMPARABLE = "No value of this study can be held against one of the published study's: see the tables for why."


def _overall(study: Study, first: list[Result]) -> Section:
    found = tuple(sentence for model in first_models(study) for sentence in model_sentences(study, model))
    shown = (tables.accuracy_table(study), tables.measures_table(study)) if study.results else ()
    introduction = (
        "A difference from the own set is of other images, and is tested on the emotions that both sets have, over "
        "seeds where there are several; p is after Holm's correction over these tests. Balanced accuracy against "
        "accuracy is tested for the first network of each, and corrected over these."
    )
    return Section("overall", "Every model on every set", introduction, found, shown)


def _transfer(study: Study, first: list[Result]) -> Section:
    found = tuple(transfer_sentence(transfer) for transfer in transfers(study))
    shown = (*_filled(tables.gains_table(study)), *_filled(tables.comparisons_table(study)))
    introduction = (
        "With several seeds a test is over seeds and images (or people), and speaks of the recipe; with one it speaks "
        "of the two networks alone, for another seed gives another network. In the sentences p is after Holm's "
        "correction over the tests that they name; in the tables it is each test's own."
    )
    return Section("transfer", "What transfer brings", introduction, found, shown, tuple(plots.transfer_figure(study)))


def _seeds(study: Study, first: list[Result]) -> Section:
    introduction = (
        "The same training with other random numbers: what is left to luck. From the next section to "
        "the duplicates, and where a text names a seed, values are of that seed alone; means name their seeds."
    )
    several = any(seeds.values["n"] > 1 for seeds in study.seeds)
    shown = _filled(tables.seeds_table(study)) if several else ()
    return Section("seeds", "Several seeds", introduction, (), shown, tuple(plots.seeds_figures(study)))


def _confusions(study: Study, first: list[Result]) -> Section:
    introduction = (
        "Rows are true emotions. Each cell holds the percentage of its row, and the count beneath; the stronger the "
        "colour, the more. Grey: no value."
    )
    changes = tuple(plots.confusion_change_figures(study))
    if changes:
        introduction += " A difference of two matrices holds points: blue where the first has more, orange where less."
    others = [result for result in study.results if result not in first]
    some, more = (tuple(plots.confusion_figures(of)) for of in (first, others))
    return Section("confusions", "Where the models err", introduction, figures=(*some, *changes), more=more)


def _examples(study: Study, first: list[Result]) -> Section:
    introduction = (
        "Images of each model's own test set: the errors that it was most confident of, right answers that it was "
        "least certain of, and its most frequent confusions. They were picked for being extreme, and do not say how "
        "frequent their like are; a label may be wrong as well as an answer. Beside each row stands the label, beneath "
        "each image the answer with its probability, and its key."
    )
    found = tuple(gallery for gallery in study.galleries if gallery.model)
    return Section("examples", "What errors look like", introduction, galleries=found)


def _classes(study: Study, first: list[Result]) -> Section:
    introduction = (
        "Recall asks how many of an emotion's images are found, precision how many that are called by its name have "
        "it, and F1 is low where either is. The curves show how well the probability of an emotion alone tells its "
        "images from all others, whatever threshold is chosen. Each model is on its own set. Lines through marks, and "
        "brackets behind an area, are 95 % intervals."
    )
    trained_on = {model.name: model.trained_on for model in study.models}
    own = [result for result in first if result.dataset == trained_on[result.model]]
    drawn, folded = tuple(plots.class_figures(own)), _filled(tables.classes_table(own))
    return Section("classes", "Emotion by emotion", introduction, figures=drawn, folded=folded)


def _frequencies(study: Study, first: list[Result]) -> Section:
    introduction = (
        "Whether emotions with many training images are recognised better, and whether some are predicted more "
        "often than they occur: right of the dotted line. No mark: never predicted, or not in the set."
    )
    drawn = (*plots.size_figures(study, first), *plots.frequency_figures(first))
    shown = _filled(tables.over_predicted_table(first))
    found = _said(sentences.neutral_sentence, first)
    return Section("frequencies", "Rare and frequent emotions", introduction, found, shown, drawn)


def _priors(study: Study, first: list[Result]) -> Section:
    introduction = (
        "A model learns how frequent each emotion is in its training set and expects the same elsewhere. These scores "
        "try to take that out: once with all emotions equally likely, once with their frequency in the test set as "
        "estimated from the predictions alone (Saerens et al. 2002). The changes are of these test images, and are not "
        "tested."
    )
    drawn, shown = tuple(plots.prior_figure(first)), _filled(tables.prior_table(first))
    found = _said(sentences.prior_sentence, first)
    return Section("priors", "Corrected for class frequencies", introduction, found, shown, drawn)


def _calibration(study: Study, first: list[Result]) -> Section:
    introduction = (
        "The first figure of a set shows whether a stated probability means what it says: above the dotted line a "
        "model is right more often than it says, below it less often; beneath it stands which part of the images is in "
        "which bin. The second shows how accurate the confident predictions are: each mark keeps those above one "
        "threshold."
    )
    drawn = tuple(plots.calibration_figures(first))
    found = _said(sentences.calibration_sentence, first) if drawn else ()
    return Section("calibration", "How far a probability can be trusted", introduction, found, (), drawn)


def _groups(study: Study, first: list[Result]) -> Section:
    introduction = (
        "Accuracy by what the releases say of the people and the images. Small groups have wide intervals. Groups may "
        "differ because one has more of the easy emotions: beside each gap stands what is left where both have the "
        "same mix. p is after Holm's correction over all gaps of this section."
    )
    tests = gap_tests(first)
    found = tuple(
        sentences.gap_sentence(result, attribute, tests[result.model, result.set_name, attribute])
        for result in first
        for attribute in result.by_attribute
        if (result.model, result.set_name, attribute) in tests
    )
    drawn = tuple(plots.attribute_figures(first))
    shown = _filled(tables.attributes_table(first))
    return Section("attributes", "By attribute", introduction, found, shown, drawn)


def _robustness(study: Study, first: list[Result]) -> Section:
    introduction = (
        "Errors under common corruptions in five severities (Hendrycks and Dietterich 2019), and what occluding a part "
        "of the face costs. A region matters by itself only where it costs more than as much of the image elsewhere."
    )
    found = (*_said(sentences.corruption_sentence, first), *_said(sentences.occlusion_sentence, first))
    drawn, shown = tuple(plots.corruption_figures(first)), _filled(tables.robustness_table(first))
    return Section("robustness", "Corruptions and occlusions", introduction, found, shown, drawn)


def _explained(study: Study, first: list[Result]) -> Section:
    introduction = (
        "What the published study concludes of its feature maps, as tests that can come out false. A region counts "
        "where the network knows less with it hidden than with as much of the image hidden elsewhere; what the same "
        "network shows with random weights is taken off, for that is the geometry of faces. An attribution method is "
        "believed where it beats all controls in three measures: six maps that know nothing of the network, and what "
        "it says of the network with random weights, or trained on random labels."
    )
    found = (*claim_sentences(first), *method_sentences(first))
    trained_on = {model.name: model.trained_on for model in study.models}
    own = [result for result in first if result.dataset == trained_on[result.model]] or first
    others = [result for result in first if result not in own]
    shown = (*_filled(claims_table(first)), *_filled(planted_table(study)), *regions_tables(own))
    folded = (*_filled(emotion_claims_table(first)), *_filled(methods_table(first)), *regions_tables(others))
    return Section(
        "maps",
        "Where the network looks",
        introduction if found else "",
        found,
        shown,
        tuple(hidden_figures(own)),
        tuple(hidden_figures(others)),
        folded,
        (),
        study.maps,
    )


def _duplicates(study: Study, first: list[Result]) -> Section:
    introduction = "Test images that the audit found in a training set as well, counted and left out."
    if any((result.without_copies or {}).get("one_subject") for result in first):
        introduction += (
            " Posed images of one subject look alike, whatever the face expresses, since person, light and wall are "
            "the same: near duplicates of one subject are no copies of one photograph, and are counted apart."
        )
    found = tuple(filter(None, (*map(sentences.duplicates_sentence, first), sentences.no_duplicates_sentence(first))))
    shown = _filled(tables.duplicates_table(first))
    return Section("duplicates", "With and without duplicates", introduction, found, shown)


def _training(study: Study, first: list[Result]) -> Section:
    models = first_models(study)
    names = {model.name for model in models}
    some = tuple(plots.curve_figures(models))
    more = tuple(plots.curve_figures(model for model in study.models if model.name not in names))
    introduction = "Training accuracy is measured on augmented images while the weights still change"
    if any("validation/accuracy" in model.curves for model in study.models):
        introduction += "; validation accuracy on plain ones after each epoch."
    else:
        introduction += "; without a validation split nothing shows how it went on others."
    return Section("training", "Training", introduction, figures=some, more=more)


def _data(study: Study, first: list[Result]) -> Section:
    shown = (*_filled(tables.counts_table(study)), *_filled(tables.left_out_table(study)))
    found = tuple(sentences.crop_sentences(study))
    galleries = tuple(gallery for gallery in study.galleries if not gallery.model)
    return Section("data", "Datasets", "", found, shown, tuple(plots.counts_figures(study)), galleries=galleries)


def _models(study: Study, first: list[Result]) -> Section:
    introduction = "What differs between the trainings, as settings have it; below it all that is the same."
    shown = _filled(tables.models_table(study)) if study.models else ()
    differing, whole = tables.configuration_tables(study)
    return Section(
        "models",
        "Models and settings",
        introduction if differing.rows or whole.rows else "",
        tables=(*shown, *_filled(differing)),
        folded=_filled(whole),
    )


def _said(sentence: Callable[[Result], str], results: Iterable[Result]) -> tuple[str, ...]:
    return tuple(filter(None, map(sentence, results)))


def _filled(table: Table) -> tuple[Table, ...]:
    return (table,) if table.rows else ()


def _distinct(found: list[Section]) -> list[Section]:
    """Two models' names may be the same once they are names of files, or differ in their case alone."""
    taken: set[str] = set()

    def renamed(figure: PageFigure) -> PageFigure:
        name, number = figure.name, 1
        while name.lower() in taken:
            number += 1
            name = f"{figure.name}-{number}"
        taken.add(name.lower())
        return replace(figure, name=name)

    return [
        replace(section, figures=tuple(map(renamed, section.figures)), more=tuple(map(renamed, section.more)))
        for section in found
    ]


def all_figures(found: list[Section]) -> list[PageFigure]:
    return list(chain.from_iterable((*section.figures, *section.more) for section in found))


def all_tables(found: list[Section]) -> list[Table]:
    return list(chain.from_iterable((*section.tables, *section.folded) for section in found))


def all_texts(found: list[Section]) -> Iterator[str]:
    """What a reader sees of the sections in words, but for names and values in the cells of tables."""
    for section in found:
        yield from (section.title, section.introduction, *section.sentences)
    for table in all_tables(found):
        yield from (table.caption, *table.columns)
    for figure in all_figures(found):
        yield from (figure.alt, figure.caption)
        for axes in figure.figure.axes:
            yield from (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())
