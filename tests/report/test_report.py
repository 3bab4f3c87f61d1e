"""The report: one whole file that holds what was measured and leaves out what was not; and the files beside it."""

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from urllib.parse import unquote

import pytest
from support.faces import tree
from support.made_study import made_study
from support.page import Page, rendered, written_by_matplotlib
from support.runs import environment
from support.small_studies import crossed, scored, transferred, whole_study

from fer_dist.cli.commands import main
from fer_dist.errors import InputError
from fer_dist.report import page as page_module
from fer_dist.report.findings import Comparison, Model, Result, Study, from_json, to_json
from fer_dist.report.numbers import span
from fer_dist.report.overview import head
from fer_dist.report.sections import all_figures, sections


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a report, with all that lies beside it."""
    folder = tmp_path_factory.mktemp("report") / "run"
    page_module.write_report(folder / "report.html", whole_study())
    return folder


@pytest.fixture(scope="module")
def page(made):
    return (made / "report.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_holds_every_figure_with_a_text(page):
    parsed = Page(page)
    texts = parsed.values("svg", "aria-label")
    assert parsed.tags.count("svg") == len(texts) == 8
    assert texts[0].startswith("Accuracy on every set. lab-test: lab 76.0 %, wild")
    assert texts[1].startswith("Accuracy with its 95 % interval, without and with transfer.")
    assert 'Confusion matrix of wild <to> "lab" & $x$ on lab-test' in texts[2]
    assert "Recognised: surprise 96.8 %, fear 100.0 %" in texts[4]
    assert "neutrality" not in texts[4]
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"#([\w-]+)\)", page)) | {link[1:] for link in parsed.values("use", "href")}
    assert set() < used <= set(ids)


def test_every_text_of_every_figure_in_the_page_is_matplotlib_s_own():
    study = from_json(to_json(whole_study()).replace('"lab"', '"lab v1.25"'))
    curved = replace(study.models[0], curves={"train/loss": [(step, 0.5 + 1.2 / step) for step in range(1, 90)]})
    study = replace(study, models=(curved, *study.models[1:]))
    figures = re.findall(r"<svg.*?</svg>", rendered(study), re.DOTALL)
    texts = [[text for text in Page(figure).text if text.strip()] for figure in figures]
    assert texts == [written_by_matplotlib(figure.figure) for figure in all_figures(sections(study))]
    seen = {text for of_figure in texts for text in of_figure}
    assert {"0.75", "1.00", "1.25", "lab v1.25-test"} <= seen


def test_every_table_has_a_caption_and_every_header_cell_a_scope(page):
    parsed = Page(page)
    assert parsed.tags.count("table") == parsed.tags.count("caption") == 6
    assert parsed.tags.count("th") == len(parsed.values("th", "scope"))


def test_the_page_asks_no_other_host_for_anything(page):
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:|//[a-z]|@import|<script .|<link|<iframe|<img", without_names)
    assert len(re.findall("<script", page)) == 1
    assert "default-src 'none'" in page
    links = [value for _, name, value in Page(page).attributes if name in ("src", "href", "xlink:href")]
    assert all(link.startswith(("#", "tables/", "figures/")) for link in links)


def test_every_link_of_the_page_leads_somewhere(page, made):
    parsed = Page(page)
    ids = {value for _, name, value in parsed.attributes if name == "id"}
    links = set(parsed.values("a", "href"))
    files = {link for link in links if not link.startswith("#")}
    assert {link[1:] for link in links - files} <= ids
    beside = {str(path.relative_to(made)) for folder in ("tables", "figures") for path in (made / folder).iterdir()}
    assert {unquote(link) for link in files} == beside


def test_the_browser_is_told_to_run_the_page_s_own_script_alone(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_the_page_begins_with_what_was_trained_on_what_when_where_and_at_which_commit():
    study = replace(made_study(2, 60, ("affectnet", "drawn-lab")), commit="0123abc+")
    study = replace(study, models=tuple(replace(model, began=f"2026-11-2{model.seed} 10:00") for model in study.models))
    said = dict(head(study))
    assert said["trained"] == (
        "affectnet on affectnet (9,000 images, 2 seeds); lab on drawn-lab (9,000 images, 2 seeds); "
        "affectnet-to-lab on drawn-lab (9,000 images, 2 seeds), starting from affectnet"
    )
    assert said["tested on"] == "affectnet-test (60 images); drawn-lab-test (60 images)"
    assert said["when"] == "begun 2026-11-20 10:00 UTC, 8.0 h of work"
    assert said["commit"].startswith("0123abc+ (+: the program's files differed")
    assert "differed" not in dict(head(replace(study, commit="0123abc")))["commit"]
    models = tuple(replace(model, config={"train.epochs": 2}) for model in study.models)
    trained = dict(head(replace(study, models=models)))["trained"]
    assert trained.startswith("affectnet on affectnet (9,000 images, 2 epochs, 2 seeds)")
    assert head(Study("S", (), ())) == []


def test_the_page_holds_its_numbers_and_names(page):
    text = " ".join("".join(Page(page).text).replace("\N{NO-BREAK SPACE}", " ").split())
    for expected in (
        "Wild & lab",
        "Starting from wild instead of scratch comes with 12.0 points more on lab (from 76.0 % to 88.0 %, relative",
        f"wild reaches 94.3 % ({span(whole_study().results[2].scores['accuracy_interval'])}) on film.",
        "The set lacks neutrality: masked, and never predicted.",
        "11,267,143",
        "1.4 h",
        "1,239",
        "fer-dist train paper --run.name wild",
        "0123abc",
        "torch 2.9",
        "one H200",
    ):
        assert expected in text, expected


def test_the_same_study_gives_the_same_page(page):
    assert rendered(whole_study()) == page


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"wild": (0,), "lab": (0,)}, "2 models (1 seed for each training), 0 results"),
        ({"wild": (0, 1, 2), "lab": (0, 1, 2)}, "6 models (3 seeds for each training), 0 results"),
        ({"wild": (0, 1, 2), "lab": (4,)}, "4 models (3 seeds for wild and 1 seed for lab), 0 results"),
    ],
)
def test_the_head_of_the_page_says_how_many_seeds_each_training_has(groups, told):
    models = tuple(Model(f"{name}-{seed}", name, group=name, seed=seed) for name in groups for seed in groups[name])
    assert told in "".join(Page(rendered(Study("S", models, ()))).text)


@pytest.mark.parametrize("is_validated", [True, False])
def test_the_page_speaks_of_validation_curves_where_there_are_some(is_validated):
    validated = {"validation/accuracy": [(4, 0.3)]} if is_validated else {}
    study = Study("S", (Model("wild", "wild", curves={"train/accuracy": [(2, 0.2), (4, 0.4)]} | validated),), ())
    text = rendered(study)
    assert ("validation accuracy on plain ones after each epoch" in text) == is_validated
    assert ("without a validation split nothing shows how it went on others" in text) != is_validated


def test_a_page_without_transfer_and_counts_leaves_those_parts_out():
    text = rendered(crossed(850, 510))
    Page(text)
    assert "What transfer brings" not in text
    assert "Datasets" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"results": (Result("other", "lab", scored(5, 10)),)}, "'other', which is not among its models: wild, lab"),
        ({"comparisons": (Comparison("wild", "lab", "lab"),)}, "'wild' is compared on lab-test, but has no result"),
        ({"models": (Model("lab", "lab"), Model("lab", "lab"))}, "comes twice"),
    ],
)
def test_a_study_that_does_not_fit_together_is_an_input_error(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        page_module.write_report(tmp_path / "report.html", replace(transferred(880, 760), **change))
    assert not (tmp_path / "report.html").exists()


def test_a_study_with_nothing_but_accuracies_is_a_whole_page():
    scores = {"samples": 1000, "accuracy": 0.8, "accuracy_interval": [0.77, 0.82]}
    study = Study("S", (Model("wild", "wild"),), (Result("wild", "wild", scores), Result("wild", "lab", scores)))
    text = rendered(study)
    parsed = Page(text)
    assert parsed.tags.count("svg") == 1
    assert "On its own test set, wild reaches 80.0" in text
    assert "Where the models err" not in text


def test_a_study_without_results_is_a_page_that_says_so_little():
    parsed = Page(rendered(Study("nothing yet", (), ())))
    assert "0 models, 0 results" in "".join(parsed.text)
    assert not parsed.values("nav", "hidden")


def test_figures_tables_and_values_lie_beside_the_page(made):
    assert from_json((made / "study.json").read_bytes()) == whole_study()
    names = {path.name for path in (made / "figures").iterdir()}
    assert {"transfer.png", "transfer.svg", "counts-train.svg", "confusion-wild-film-test.png"} <= names
    assert "confusion-wild__to___lab_____x_-lab-test.png" in names
    assert len(names) == 2 * 8
    assert {path.stem for path in (made / "tables").glob("*.csv")} == {
        "accuracy",
        "best",
        "measures",
        "comparisons",
        "class-counts",
        "models",
    }
    assert len(list((made / "tables").glob("*.tex"))) == 6


def test_the_page_is_made_again_from_its_values_alone_and_is_the_same(made, tmp_path):
    shutil.copy(made / "study.json", tmp_path / "study.json")
    code = (
        "import sys; from fer_dist.cli.commands import main; code = main(['study', 'report', sys.argv[1]]);"
        "sys.exit(code or (set(sys.modules) & {'torch', 'nvidia', 'ray', 'pyarrow', 'fer_dist.train.loop'}) or 0)"
    )
    words = [sys.executable, "-c", code, f"{tmp_path}/"]
    ended = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert (ended.returncode, ended.stderr) == (0, f"report:  {tmp_path / 'report.html'}\n")

    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert content(tmp_path) == content(made)


WHOLE = to_json(whole_study())
FIRST = f'"accuracy": {json.loads(WHOLE)["results"][0]["scores"]["accuracy"]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .* name the folder of a finished study"),
        ("", "not a study as this version writes it"),
        (WHOLE[: len(WHOLE) // 2], "not a study as this version writes it"),
        (WHOLE.replace('"format": 1', '"format": 2'), "written in another format than 1; make the study again"),
        (WHOLE.replace('"hardware"', '"machine"'), "not a study as this version writes it: machine: not known"),
        (WHOLE.replace('"scores": {', '"scores": 1, "x": {', 1), "not a study as this version writes it"),
        (WHOLE.replace(FIRST, '"accuracy": "x"'), "holds values that make no page"),
        (WHOLE.replace(FIRST, f'"accuracy": {10**400}'), "holds values that make no page .*OverflowError"),
        (WHOLE.replace('"maps": []', '"maps": ["../../map.png"]'), "names '../../map.png', which is no file below"),
        (WHOLE.replace('"maps": []', '"maps": ["/etc/passwd"]'), "names '/etc/passwd', which is no file below"),
        (WHOLE.replace('"film"', f'"{"x" * 300}"'), "the name '.*' cannot be a file's"),
        ("\0\xff", "not a study as this version writes it"),
    ],
)  # fmt: skip
def test_a_study_json_that_makes_no_page_is_one_line_and_touches_nothing(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "study.json").write_text(content, encoding="latin-1", errors="replace")
    before = tree(tmp_path)
    assert main(["study", "report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"fer-dist: ({tmp_path / 'study.json'}|study.json): .*{message}", line)
    assert tree(tmp_path) == before


def test_models_whose_names_make_the_same_file_keep_their_own(tmp_path):
    models = (Model("A b", "A b"), Model("a_b", "A b"))
    study = Study("S", models, (Result("A b", "A b", scored(5, 10)), Result("a_b", "A b", scored(7, 10))))
    page_module.write_report(tmp_path / "report.html", study)
    files = sorted(path.name for path in (tmp_path / "figures").glob("*.png"))
    assert files == ["confusion-A_b-A_b-test.png", "confusion-a_b-A_b-test-2.png", "overview.png"]


def test_headings_go_down_one_step_at_a_time_and_the_contents_lead_to_each(page):
    parsed = Page(page)
    levels = [int(tag[1]) for tag in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    links = [link for link in parsed.values("a", "href") if link.startswith("#")]
    # The contents stand there twice: folded for a narrow screen, and beside the page for a wide one.
    assert [link[1:] for link in links] == ["main", *2 * parsed.values("h2", "id")]


def test_the_page_says_where_the_published_study_s_feature_maps_have_no_counterpart():
    study = replace(crossed(850, 510), roles={"a": "wild", "b": "lab"})
    study = replace(study, models=tuple(replace(model, role="a") for model in study.models))
    (published,) = [section for section in sections(study) if section.name == "published"]
    assert published.introduction.endswith("Its feature maps have no counterpart here.")
    (published,) = [section for section in sections(replace(study, maps=("map.png",))) if section.name == "published"]
    assert "feature maps" not in published.introduction


def test_the_published_study_comes_after_the_results_and_is_folded_where_nothing_is_marked():
    study = made_study(1, 60, ("affectnet", "drawn-lab"))
    names = [section.name for section in sections(study)]
    assert names[:3] == ["glance", "overall", "transfer"]
    assert names[-4:] == ["published", "training", "data", "models"]
    (published,) = [section for section in sections(study) if section.name == "published"]
    assert published.is_folded
    assert published.introduction.startswith("No value of this study can be held against one of the published")
    text = rendered(study)
    assert text.index("<details>", text.index('id="published"')) < text.index("Table 1. Images of each emotion")


def test_feature_maps_are_shown_only_where_there_are_some(tmp_path, page):
    assert "Where the network looks" not in page
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "block-1_wild.png").write_bytes(page_module.PNG_START + b"rest")
    study = replace(crossed(850, 510), maps=("maps/block-1_wild.png",))
    text = rendered(study, tmp_path)
    assert "Where the network looks" in text
    assert Page(text).values("img", "alt") == ["Feature maps: block 1 wild"]
    assert Page(text).values("img", "src")[0].startswith("data:image/png;base64,iVBORw0KGgp")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"GIF89a", "neither PNG nor JPEG nor WebP")]
)
def test_a_feature_map_that_is_no_image_is_an_input_error(tmp_path, content, message):
    if content:
        (tmp_path / "map.png").write_bytes(content)
    with pytest.raises(InputError, match=f"map.png: .*{message}"):
        page_module.write_report(tmp_path / "report.html", replace(crossed(850, 510), maps=("map.png",)))
    assert not (tmp_path / "report.html").exists()
