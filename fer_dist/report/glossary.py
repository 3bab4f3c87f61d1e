"""What the measures and terms of a report mean, a sentence each; a page has those that appear in it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A term and what it means. used: a regular expression of the words by which a page speaks of it, in lower case."""

    term: str
    meaning: str
    used: str
    source: str = ""


GLOSSARY = (
    Entry(
        "95\N{NO-BREAK SPACE}% interval",
        "Holds the true value in about 95 of 100 sets of test images: Wilson's of the accuracy; of the two means over "
        "classes, the delta method with Student's t. Intervals are of one value each, but for gaps between groups; p "
        "alone is corrected for there being several.",
        "interval",
        "Wilson 1927",
    ),
    Entry("accuracy", "The share of the images whose most probable emotion is their label.", "accuracy"),
    Entry(
        "area under the ROC curve",
        "How often an image of the emotion gets a higher probability of it than an image of another one; half is "
        "guessing. The ROC curve (receiver operating characteristic) is recall against the false positive rate. "
        "Its interval is DeLong's, of the set with one image more of either kind, each half right.",
        r"area under|\broc\b|receiver operating",
        "Fawcett 2006, DeLong et al. 1988",
    ),
    Entry(
        "balanced accuracy",
        "Mean of the recall of the emotions that have images, so that each emotion weighs the same.",
        "balanced accuracy",
        "Brodersen et al. 2010",
    ),
    Entry(
        "Bonferroni's correction",
        "Multiplies p by the number of tests that were, or could have been, looked at.",
        "bonferroni",
        "Dunn 1961",
    ),
    Entry(
        "bootstrap",
        "An interval from drawing the same images again and again with replacement.",
        "bootstrap|resampled",
        "Efron 1979",
    ),
    Entry(
        "confusion matrix",
        "How many images of each true emotion, in rows, are taken for each emotion, in columns.",
        "confusion",
    ),
    Entry(
        "corruption error",
        "The share of wrong predictions on images with noise, blur, weather or compression added, as the mean over "
        "five severities; corrupted errors are the mean over corruptions, not divided by another network's as in the "
        "source.",
        "corrupt|error, (clean|worst group)",
        "Hendrycks and Dietterich 2019",
    ),
    Entry("coverage", "The share of the images whose prediction is kept.", "coverage|predictions kept"),
    Entry(
        "cross-dataset evaluation",
        "A test on a dataset that a model was not trained on; on the own set it is tested on other images of the "
        "dataset that it was trained on last.",
        "cross-dataset|carried over|own set|other sets|sets that they were not trained on",
    ),
    Entry(
        "duplicate",
        "An image with the pixels of another one (exact), or alike but for size, compression and a mirror (near).",
        "duplicate",
    ),
    Entry(
        "expected calibration error (ECE)",
        "How far the top probability is from the share that is right: the mean over images of the gap in their bin, in "
        "15 bins of equal width.",
        r"expected calibration error|\bece\b",
        "Naeini et al. 2015; Guo et al. 2017",
    ),
    Entry(
        "ECE if calibrated; ECE, debiased",
        "What chance alone makes of the ECE, for a calibrated model with as many images in each bin, were they of as "
        "many people; and the error that gives the ECE found once chance is added, with its 95\N{NO-BREAK SPACE}% "
        "interval.",
        "debiased|without chance",
    ),
    Entry("F1", "The harmonic mean of an emotion's precision and recall.", r"\bf1\b"),
    Entry(
        "false positive rate",
        "The share of the other emotions' images that is taken for an emotion.",
        "false positive rate",
    ),
    Entry(
        "forgetting",
        "Accuracy that a model loses on what it was trained on before.",
        "forgetting",
        "McCloskey and Cohen 1989",
    ),
    Entry(
        "gap between groups",
        "The best and the worst of the groups of at least 10 images. The pair is chosen by looking, so the interval is "
        'widened for all pairs (Bonferroni). "Same mix": recalls of both groups weighted by the images that the two '
        "have of each emotion together, over the emotions that both have; a stratified score test. The groups are "
        "taken to be of other people, and where a group is one person, its interval is of more images of that person.",
        r"\bgaps?\b|(best|worst) group\b",
    ),
    Entry(
        "Holm's correction",
        "Raises each p of a family of tests so that, where none of the differences is real, one is shown in at most "
        "one such family in twenty.",
        "holm",
        "Holm 1979",
    ),
    Entry(
        "log loss",
        "Mean of the negative natural logarithm of the label's probability, also called negative log-likelihood.",
        "log loss",
    ),
    Entry(
        "macro F1",
        "Mean F1 of the emotions that occur as label or as prediction.",
        "macro f1",
        "Opitz and Burst 2019",
    ),
    Entry(
        "majority class",
        "The most frequent emotion of a set: the accuracy of always answering it is the floor that a model has to "
        "pass.",
        "majority class",
    ),
    Entry("masked", "The set lacks the emotion: its probability is 0 and the others' add up to 1.", r"\bmasked\b"),
    Entry(
        "occlusion",
        "A part of the face is covered; its control covers as much of the image elsewhere.",
        "occlu",
        "Zeiler and Fergus 2014",
    ),
    Entry(
        "p",
        "How often a difference at least as large as the one found comes about by chance where there is none.",
        r"\bp\b",
    ),
    Entry(
        "paired test",
        "Compares two networks on the same images: McNemar's exact test; where people are known, Student's t over "
        "people with the jackknife's spread.",
        "paired test|only with|between these two networks",
        "McNemar 1947",
    ),
    Entry(
        "points",
        "The difference of two percentages: from 70\N{NO-BREAK SPACE}% to 72\N{NO-BREAK SPACE}% are 2 points.",
        r"\bpoints\b",
    ),
    Entry("precision", "The share of the images taken for an emotion that have it.", "precision"),
    Entry("recall", "The share of an emotion's images that is recognised as that emotion.", "recall|recognised"),
    Entry(
        "reliability diagram",
        "Accuracy of the predictions in each bin of their stated probability; on the diagonal both are equal.",
        "stated probability",
        "DeGroot and Fienberg 1983",
    ),
    Entry(
        "selective accuracy",
        "Accuracy of the predictions that are kept when only those above a threshold of probability count.",
        "selective|confident predictions",
        "Geifman and El-Yaniv 2017",
    ),
    Entry(
        "Spearman's r",
        "Correlation of two orders, from \N{MINUS SIGN}1 to 1; its p is over all orders of the emotions; of more than "
        "eight, over 100,000 random ones.",
        "spearman",
        "Spearman 1904",
    ),
    Entry(
        "standard deviation (std)",
        "How far the seeds of a training lie from their mean; of a sample, with n \N{MINUS SIGN} 1.",
        r"standard deviation|\bstd\b",
    ),
    Entry(
        "training loss",
        "Mean cross-entropy of the predictions with the labels, smoothed where the settings say so, on augmented "
        "images.",
        "training loss",
    ),
    Entry(
        "training prior removed; target prior estimated",
        "Probabilities are divided by the share that each emotion has of the training images, and multiplied by equal "
        "shares, or by those that expectation maximisation (EM) finds in the predictions. The latter needs "
        "probabilities that mean what they say: of a model that is overconfident or weak the estimate is off, and may "
        "hold one emotion alone.",
        "prior removed|prior estimated|training prior",
        "Saerens et al. 2002",
    ),
    Entry(
        "transfer",
        "A training that starts from the weights of a network trained on another dataset, not from random ones.",
        "transfer|starting from",
    ),
)
"""In the order of the page."""


def glossary(texts: Iterable[str]) -> list[Entry]:
    """The entries of which these texts speak, each once."""
    spoken = "\n".join(texts).lower()
    return [entry for entry in GLOSSARY if re.search(entry.used, spoken)]
