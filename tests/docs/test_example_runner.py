"""The runner of examples finds what is wrong with them."""

import textwrap
from pathlib import Path

import pytest
from example_card import card_problems
from example_commands import unknown_in
from example_page import Block, ExampleError, read_page
from example_story import Story, first_missing


def run(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(textwrap.dedent(text))
    Story(read_page(page), tmp_path).run()
    return tmp_path / "story"


def test_a_page_is_one_story(tmp_path: Path) -> None:
    story = run(
        tmp_path,
        """\
        # Page

        % test: run mkdir -p made/before; test -f $REPOSITORY/pyproject.toml
        ```{code-block} text
        :caption: sub/words.txt

        one two
        ```

        1. A list:

           % test: append --count
           ```console
           $ export WORD=two; cd sub
           ```

        :::{note}
        ```console
        $ echo before; cat words.txt \\
          | wc -w
        ...
        7
        $ grep -o $WORD words.txt
        two
        ```
        :::

        ```python
        from pathlib import Path
        value = Path("words.txt").read_text()
        ```

        % test: python assert value == "one two\\n"
        % test: part
        ```python
        value.nowhere
        ```

        % test: replace three => four
        % test: file other.txt
        ```text
        three
        ```

        % test: skip no network
        ```console
        $ false
        ```

        % test: exit 3
        ```console
        $ true
        $ (exit 3)
        ```

        % test: commands
        ```text
        echo of > commands.txt   # a comment
        grep of commands.txt
        ```

        % test: run grep four other.txt
        """.replace("% test: append --count\n", "% test: append ; true --count\n"),
    )
    assert (story / "made/before").is_dir()
    assert (story / "sub/other.txt").read_text() == "four\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```console\n$ true\n$ false\n$ true\n```\n", r"page.md:2: 'false' ended with code 1, 0 is expected"),
        ("% test: exit 2\n```console\n$ true\n```\n", "ended with code 0, 2 is expected"),
        ("```console\n$ echo one\ntwo\n```\n", "does not say 'two', but:\none"),
        ("```console\nfirst\n```\n", "'first' stands before the first command"),
        ("```console\n```\n", "no line that begins with"),
        ("% test: run false\n```console\n$ true\n```\n", "the hidden command 'false' ended with code 1"),
        ("\n```python\n1 / 0\n```\n", 'page.md", line 3'),
        ("```python\nx = 1\n```\n% test: python assert x == 2\n", "AssertionError"),
        ("% test: part\n```python\nx = = 1\n```\n", "invalid syntax"),
        ("```toml\n[run]\nevent = 1\n```\n", "run.event: Extra inputs"),
        ("% test: replace a => b\n```console\n$ true\n```\n", "OLD => NEW is expected, with OLD in the block"),
        ("```python\nimport os; os._exit(0)\n```\n", "ended its process"),
    ],
)
def test_an_example_that_does_not_run_is_found(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises((ExampleError, SyntaxError)) as error:
        run(tmp_path, text)
    import re

    assert re.search(problem, str(error.value)), str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("% test: sikp reason\n```console\n$ true\n```\n", "no instruction 'sikp'"),
        ("% tests: skip reason\n```console\n$ true\n```\n", "is no instruction"),
        ("% test: skip\n```console\n$ true\n```\n", "needs words"),
        ("% test: exit 2\n", "no block follows 'exit'"),
        ("<!-- test: nowhere -->\n\n    code\n", "no instruction 'nowhere'"),
    ],
)
def test_a_wrong_instruction_is_an_error(tmp_path: Path, text: str, problem: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ExampleError, match=problem):
        read_page(page)


def test_instructions_of_a_readme_are_comments_of_html(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- test: run true -->\n<!-- test: file card.toml -->\n```toml\n[run]\n```\n")
    (block,) = read_page(page).blocks
    assert block.file == "card.toml"
    assert block.said("run") == ["true"]


def test_a_package_is_installed_into_the_environment_of_the_story_alone(tmp_path: Path) -> None:
    run(
        tmp_path,
        """\
        ```{code-block} toml
        :caption: pyproject.toml

        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "mlgen-of-a-story"
        version = "1.5"
        dependencies = ["mlgen-hep"]
        [tool.hatch.build.targets.wheel]
        include = ["of_a_story.py"]
        ```

        ```{code-block} python
        :caption: of_a_story.py

        word = "installed"
        ```

        ```console
        $ pip install -e .
        Successfully installed mlgen-of-a-story-1.5
        $ cd / && python -c 'import of_a_story, mlgen; print(of_a_story.word)'
        installed
        ```
        """,
    )
    with pytest.raises(ModuleNotFoundError):
        import of_a_story  # noqa: F401


def test_output_is_compared_line_by_line() -> None:
    output = "events   1,000\ncross section  12.5 pb\nwritten new.lhe.gz\n"
    assert not first_missing(["events 20", "", "...", "written ...gz"], output, exact=False)
    assert first_missing(["written new.lhe.gz", "events 20"], output, exact=False) == "events 20"
    assert first_missing(["events 1,001"], output, exact=True) == "events 1,001"
    assert not first_missing(["cross section 12.5"], output, exact=True)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('[generator]\nplugin = "cfm"\nsteps = 10\nmodel = "m"', []),
        ("[generator]\nsteps = 10", []),
        ("[process.cuts]\npt = { j = 20 }", []),
        ('[generator]\nplugin = "cfm"\nstep = 10', ["generator.step: Extra inputs are not permitted"]),
        ("[generator]\nstep = 10", ["[generator] step: no built-in plugin has such a setting"]),
        (
            "[phase_space]\nplugin = 'vegas'\nbudget = 0",
            ["phase_space.budget: Input should be greater than or equal to 1"],
        ),
        ('[shower]\nprogram = "pythia8"\nsettings = ["a = b"]', []),
        ("[output]\nfile = 'x'", ["output.file: Extra inputs are not permitted"]),
    ],
)
def test_a_piece_of_a_card_is_checked(text: str, problems: list[str]) -> None:
    assert card_problems(text) == problems


def test_other_toml_is_only_parsed() -> None:
    assert card_problems("[project]\nname = 'x'", card=False) == []
    assert card_problems("[project\n", card=False)


def test_commands_that_are_not_there_are_found() -> None:
    text = "mlgen run card.toml --sett x\nmlgen nowhere\nmlgen --debug info A | less --no\nmlgen convert a b  # --x"
    expected = ["mlgen run --sett: there is no such option", "mlgen nowhere: there is no such command"]
    assert list(unknown_in(Block("", text, 1))) == expected
    assert not list(unknown_in(Block("console", text, 1)))
    assert list(unknown_in(Block("console", text.replace("mlgen", "$ mlgen"), 1))) == expected
