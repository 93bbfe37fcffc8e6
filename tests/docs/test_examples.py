"""Every example of the documentation and of the README runs; a page is one story, in one folder."""

from pathlib import Path

import pytest
from documentation import DOCS, ROOT
from example_commands import unknown_in
from example_page import ExampleError, read_page
from example_story import Story

#: Examples that cannot run here (no network, no batch system). More than this is a sign that they could.
MOST_SKIPPED = 15

PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])


def has_examples(path: Path) -> bool:
    try:
        return read_page(path).runs
    except ExampleError:  # the test of the page says what is wrong
        return True


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [path for path in PAGES if has_examples(path)], ids=shown)
def test_every_example_runs(path: Path, tmp_path: Path) -> None:
    Story(read_page(path), tmp_path).run()


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_every_command_that_is_shown_is_there(path: Path) -> None:
    assert not [problem for block in read_page(path).blocks for problem in unknown_in(block)]


def test_few_examples_are_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = [
        f"{shown(path)}:{block.line}: {block.skipped}"
        for path in PAGES
        for block in read_page(path).blocks
        if block.skipped
    ]
    with capsys.disabled():
        print(f"\n{len(skipped)} examples are not run:", *skipped, sep="\n  ")  # noqa: T201 - it is for people
    assert len(skipped) <= MOST_SKIPPED
