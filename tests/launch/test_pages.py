"""README and the pages under launch/, held against what they speak of: links, commands, flags, files, the map."""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fer_dist import PACKAGE
from fer_dist.bench.commands import BENCHES
from fer_dist.cli.commands import COMMANDS, main
from fer_dist.data.sources.source import SOURCES

TOP = Path(__file__).parents[2]
README = TOP / "README.md"
PAGES = [README, *sorted((TOP / "launch").glob("*.md"))]
CODE_PAGES = [path for path in PAGES if path.name != "RESULTS.md"]
"""All but the record: a command that was measured last year need not be one of today."""

MOST_LINES = 200
MOST_BYTES = 300 * 1024

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
"""Code within a line, or one that is broken over two."""

LINK = re.compile(r"\]\(([^)\s]+)\)")
FLAG = re.compile(r"--[a-z][a-z0-9._-]*")
ENTRY = re.compile(r"(?:^|[\s/])(?:fer-dist |-m (?=fer_dist\.train ))(.*)")


def without_code(text: str) -> str:
    return INLINE.sub("", FENCE.sub("", text))


def anchors(path: Path) -> set[str]:
    """What GitHub makes of a page's headings: small letters, blanks to hyphens, no other signs; a twin gets -1, -2."""
    found: dict[str, int] = {}
    made = set()
    for title in re.findall(r"^#{1,6} (.+)$", FENCE.sub("", path.read_text()), flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        made.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading_that_exist(page: Path):
    wrong = []
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


def test_a_link_to_a_heading_is_what_github_makes_of_it(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# One, two: `three`\n\n```sh\n# no heading\n```\n\n## Same\n\n## Same\n\n## A [link](x.md) ü-1\n")
    assert anchors(page) == {"one-two-three", "same", "same-1", "a-link-ü-1"}


def test_every_page_is_named_in_the_readme():
    named = {link.partition("#")[0] for link in LINK.findall(README.read_text())}
    assert {str(page.relative_to(TOP)) for page in PAGES[1:]} <= named


def test_the_readme_is_a_tour_and_its_image_is_small():
    assert len(README.read_text().splitlines()) <= MOST_LINES
    images = [README.parent / link for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text())]
    assert images
    for path in images:
        assert path.stat().st_size <= MOST_BYTES, path.name
        assert path.read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_marked_block_holds_one_command_that_installs_what_is_pinned(name: str):
    (block,) = re.findall(rf"^<!-- {name} -->\n```sh\n(.*)\n```\n<!-- /{name} -->$", README.read_text(), flags=re.M)
    assert "-c cluster/constraints.txt" in block
    assert README.read_text().count(f"<!-- {name} -->") == 1


def codes(text: str) -> Iterator[str]:
    """Every line of shell on a page, and every piece of code within a line, without comments."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from (line.partition(" #")[0] for line in block.replace("\\\n", " ").splitlines() if line[:1] != "#")
    yield from (piece.replace("\n", " ") for piece in INLINE.findall(FENCE.sub("", text)))


def command_of(words: list[str]) -> tuple[str, ...]:
    """The words that name a command: shards build folder. A name in capitals stands for any of its kind."""
    assert words[0] in COMMANDS, words
    if words[:2] == ["shards", "build"]:
        source = words[2] if len(words) > 2 and words[2] != "SOURCE" else "folder"
        assert source in SOURCES, words
        return "shards", "build", source
    if words[0] == "train":
        return "train", words[1] if len(words) > 1 and words[1] != "PRESET" else "paper"
    if words[0] == "study":
        return "study", words[1] if len(words) > 1 and words[1] in ("paper", "report") else "paper"
    return tuple(words[: 2 if words[0] in ("shards", "bench") else 1])


@cache
def flags_of(command: tuple[str, ...]) -> frozenset[str]:
    """The flags that the help of a command lists. Raises InputError where there is no such command."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        assert main([*command, "--help"]) == 0, command
    rows = re.findall(r"^[│ ]*(--[a-z][\w.-]*(?:, --[a-z][\w.-]*)*)", said.getvalue(), flags=re.MULTILINE)
    return frozenset(flag for row in rows for flag in row.split(", ")) | {"--help", "--debug"}


def all_flags() -> frozenset[str]:
    commands: list[tuple[str, ...]] = [("shards", "build", name) for name in SOURCES]
    commands += [("shards", name) for name in ("index", "describe", "audit", "verify")]
    commands += [("bench", name) for name in BENCHES]
    commands += [
        ("train", "paper"),
        ("evaluate",),
        ("explain",),
        ("export",),
        ("cite",),
        ("runs",),
        ("predict",),
        ("study", "paper"),
        ("study", "report"),
        ("doctor",),
        ("demo",),
    ]
    return frozenset().union(*map(flags_of, commands))


def unknown_flags(text: str) -> list[str]:
    """Flags on a page that no help lists: of the command that stands before them, or of any where none does."""
    wrong = []
    for code in codes(text):
        if code.startswith("--"):
            flags = [flag.replace("--set.", "--") for flag in FLAG.findall(code)]
            wrong += [flag for flag in flags if flag not in all_flags()]
        elif entry := ENTRY.search(code):
            words = [word for word in shlex.split(entry[1].replace("fer_dist.train", "train", 1)) if word != "..."]
            if words[0] == "COMMAND":
                continue
            command = command_of(words)
            flags = [found[0] for word in words if (found := FLAG.match(word))]
            wrong += [f"{' '.join(command)}: {flag}" for flag in flags if flag not in flags_of(command)]
    return wrong


@pytest.mark.parametrize("page", CODE_PAGES, ids=lambda page: page.name)
def test_every_command_and_flag_on_a_page_exists(page: Path):
    assert not unknown_flags(page.read_text())


def test_a_flag_that_no_command_has_is_seen():
    block = "fer-dist train paper --data.crops 3 # --not-this\ntorchrun --nproc 2 -m fer_dist.train demo --lr 1\n"
    assert unknown_flags(f"```sh\n{block}```\n") == ["train paper: --data.crops", "train demo: --lr"]
    assert unknown_flags("`--data.leave`, `fer-dist bench order --reel 1`") == ["--data.leave", "bench order: --reel"]
    with pytest.raises(AssertionError):
        unknown_flags("`fer-dist tarin paper`")


@pytest.mark.parametrize("page", CODE_PAGES, ids=lambda page: page.name)
def test_every_file_of_ours_that_a_page_names_exists(page: Path):
    tests = {path.name for path in (TOP / "tests").rglob("*.py")}
    wrong = []
    for code in codes(page.read_text()):
        # mine.py is what the reader of "A new dataset" writes.
        wrong += [name for name in re.findall(r"\btest_\w+\.py", code) if name not in tests]
        paths = re.findall(r"(?<![\w./-])((?:tests|launch|cluster|fer_dist)/[\w./-]*\w)", code)
        wrong += [path for path in paths if not (TOP / path).exists() and not path.endswith("/mine.py")]
    assert not wrong


def test_the_map_names_every_package_and_only_modules_that_exist():
    page = (TOP / "launch/DESIGN.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z/]+/)` \| (.+) \|$", page, flags=re.MULTILINE))
    packages = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.rglob("__init__.py")} - {"./"}
    assert set(rows) == packages
    wrong = []
    for folder, text in rows.items():
        for name in re.findall(r"`([a-z_]+)`", text):
            known = [PACKAGE / folder / f"{name}.py", PACKAGE / folder / name / "__init__.py"]
            if not any(path.exists() for path in known):
                wrong.append(f"{folder}{name}")
    assert not wrong
    files = re.search(r"^\| (`[a-z]+\.py`(?:, `[a-z]+\.py`)*) \|", page, flags=re.MULTILINE)
    assert files
    root = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`([a-z]+\.py)`", files[1])) == root
