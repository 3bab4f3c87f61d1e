"""Under what terms datasets are had, as their own pages state them. What is not known here is not made up."""

TERMS: dict[str, str] = {
    # mohammadmahoor.com/pages/databases/affectnet, "Clarification"
    "affectnet": "for research purposes only, by a signed agreement with its authors",
    # whdeng.cn/RAF, "Terms & Conditions"
    "rafdb": "for non-commercial research purposes only; no part of it or derived from it may be passed on",
    # Its page on Kaggle; facts of the project
    "fer2013": "no licence of its own; images from a web search, whose rights are their owners'",
    "ferplus": "labels of FER2013's images: see that set's terms, and those of the labels' repository",
    # zenodo.org/record/3451524
    "jaffe": "for non-commercial scientific research, under the conditions on its page",
}
"""Dataset, as its manifest names it -> its terms, in words."""

DRAWN = "synthetic_"
"""How the names of drawn sets begin."""


def terms_of(dataset: str) -> str:
    """The terms of a dataset, in words."""
    if dataset.startswith(DRAWN):
        return "drawn by fer-dist, no photographs"
    return TERMS.get(dataset, "not recorded here: see the agreement or the page that the release came with")
