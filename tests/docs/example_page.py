"""The examples of a page: its code blocks, and what its hidden instructions say of them.

The convention is written down in docs/contributing.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin

#: What an instruction may say, and whether it needs words after it.
INSTRUCTIONS = {
    "run": True,
    "python": True,
    "append": True,
    "replace": True,
    "exit": True,
    "output": True,
    "file": True,
    "skip": True,
    "commands": False,
    "part": False,
    "not-a-card": False,
}
#: Those that do something by themselves; all others need a block after them.
ACTIONS = {"run", "python"}
_COMMENT = re.compile(r"<!--\s*(test:.*?)\s*-->", re.DOTALL)
_DIRECTIVE = re.compile(r"\{([\w-]+)\}\s*(.*)")
_OPTION = re.compile(r":([\w-]+):\s*(.*)")
#: Directives whose content is a block of code; the content of all others is Markdown.
_CODE_DIRECTIVES = {"code-block", "code", "sourcecode"}
_VERBATIM_DIRECTIVES = {"eval-rst", "toctree", "include", "math", "figure", "image", "literalinclude"}


class ExampleError(Exception):
    """A page says something about its examples that means nothing."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One hidden instruction: its word, what follows it, its line."""

    word: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code.

    Args:
        language: As the page says, ``console`` for instance; empty for an indented block.
        text: The code.
        line: Line of the page on which the code begins, from 1.
        caption: Name of the file that it is to be written to; empty for none.
        instructions: What stands before it.
    """

    language: str
    text: str
    line: int
    caption: str = ""
    instructions: tuple[Instruction, ...] = ()

    def said(self, word: str) -> list[str]:
        """What instructions with this word say."""
        return [instruction.text for instruction in self.instructions if instruction.word == word]

    @property
    def file(self) -> str:
        """Name of the file that it is to be written to; empty for none."""
        return next(iter(self.said("file")), self.caption)

    @property
    def skipped(self) -> str:
        """Why it is not run; empty where it is."""
        return next(iter(self.said("skip")), "")

    @property
    def replaced(self) -> str:
        """The code as it is in the test.

        Raises:
            ExampleError: What is to be replaced is not there.
        """
        text = self.text
        for change in self.said("replace"):
            old, arrow, new = change.partition(" => ")
            if not arrow or old not in text:
                raise ExampleError(
                    f"line {self.line}: 'replace {change}': OLD => NEW is expected, with OLD in the block"
                )
            text = text.replace(old, new)
        return text


@dataclass(slots=True)
class Page:
    """A page: its blocks in order, and the instructions after the last of them."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    last: tuple[Instruction, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether something of it is run or checked."""
        run = ("console", "python", "toml")
        return bool(self.last) or any(block.language in run or block.instructions for block in self.blocks)


def read_page(path: Path) -> Page:
    """Read the examples of a page.

    Raises:
        ExampleError: An instruction is not known, lacks words, or has no block that it is for.
    """
    page = Page(path)
    waiting: list[Instruction] = []
    for found in _parts(path.read_text(), 0):
        if isinstance(found, Instruction):
            waiting.append(found)
        else:
            page.blocks.append(Block(found.language, found.text, found.line, found.caption, tuple(waiting)))
            waiting = []
    for instruction in waiting:
        if instruction.word not in ACTIONS:
            raise ExampleError(f"line {instruction.line}: no block follows '{instruction.word}'")
    page.last = tuple(waiting)
    return page


def _parts(text: str, before: int) -> Iterator[Block | Instruction]:
    parser = MarkdownIt("commonmark").use(myst_block_plugin).use(colon_fence_plugin)
    for token in parser.parse(text):
        line = before + (token.map or [0])[0] + 1
        if token.type == "myst_line_comment":
            for number, comment in enumerate(token.content.split("\n")):
                yield from _instruction(comment.lstrip("% "), line + number)
        elif token.type == "html_block":
            for comment in _COMMENT.findall(token.content):
                yield from _instruction(comment, line)
        elif token.type in ("fence", "colon_fence"):
            yield from _fence(token, line)
        elif token.type == "code_block":
            yield Block("", token.content, line)


def _fence(token: Token, line: int) -> Iterator[Block | Instruction]:
    directive = _DIRECTIVE.match(token.info.strip())
    if directive is None:
        yield Block(token.info.strip(), token.content, line + 1)
        return
    name, argument = directive[1], directive[2].strip()
    lines = token.content.split("\n")
    options: dict[str, str] = {}
    start = 0
    while start < len(lines) and (option := _OPTION.fullmatch(lines[start].strip())):
        options[option[1]] = option[2]
        start += 1
    if start and start < len(lines) and not lines[start].strip():
        start += 1
    content = "\n".join(lines[start:])
    if name in _CODE_DIRECTIVES:
        yield Block(argument, content, line + 1 + start, options.get("caption", ""))
    elif name not in _VERBATIM_DIRECTIVES:
        yield from _parts(content, line + start)


def _instruction(comment: str, line: int) -> Iterator[Instruction]:
    if not comment.startswith("test:"):
        if re.match(r"tests?\b", comment):
            raise ExampleError(f"line {line}: '{comment}' is no instruction; those begin with 'test: '")
        return
    word, _, text = comment.removeprefix("test:").strip().partition(" ")
    if word not in INSTRUCTIONS:
        raise ExampleError(f"line {line}: there is no instruction '{word}'; there are {', '.join(INSTRUCTIONS)}")
    if INSTRUCTIONS[word] and not text.strip():
        raise ExampleError(f"line {line}: 'test: {word}' needs words after it")
    yield Instruction(word, text.strip(), line)
