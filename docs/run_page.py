"""Run a tutorial as a reader does: its files are written and its commands typed, in order, in an empty folder.

    python docs/run_page.py docs/tutorial/two_folders.md FOLDER [--quick]

What a page's blocks are:

- python and toml whose first line is `# NAME.py` or `# NAME.toml`: a file, which is written; other python: a script,
  which is run;
- shell: commands, which have to succeed. `pip install` of a folder makes its entry points known and changes nothing of
  the installation;
- text: what the commands since the last text have printed. Lines may be omitted, `...`, and numbers may be others.

A comment before a block, `<!-- test: ... -->`, which readers do not see, says what is special about it:

- `quick WORDS`: with --quick, WORDS are appended to each transgan command of the block, such as
  `--set train.steps=4`, and what the page quotes of them still has to be printed;
- `fails`: the last command of the block has to fail;
- `omit REASON`: it is not run, not written or not compared.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Runs a command line of transgan, given without that word, in a folder; returns its exit code and what it printed.
Transgan = Callable[[Sequence[str], Path], tuple[int, str]]

_BLOCK = re.compile(r"(?:<!-- test: ([^\n]*) -->\n[ ]*)?^[ ]*```(\w+)\n(.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.(?:py|toml))\n")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class PageError(Exception):
    """A page says something that is not so."""


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    line: int
    language: str
    text: str
    note: str

    def words_if(self, name: str) -> str | None:
        """Return what follows a name in the comment before the block; None where the comment is another one."""
        first, _, rest = self.note.partition(" ")
        return " ".join(rest.split()) if first == name else None


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page.

    Raises:
        PageError: a comment before a block is of no known kind.
    """
    found = list(_BLOCK.finditer(page))
    if page.count("<!-- test:") != sum(match[1] is not None for match in found):
        raise PageError("a comment for tests is not directly before a block")
    for match in found:
        note = match[1] or ""
        line = page.count("\n", 0, match.start(2)) + 1
        if note and note.split()[0] not in ("quick", "fails", "omit"):
            raise PageError(f"line {line}: a comment for tests is 'quick WORDS', 'fails' or 'omit REASON': {note}")
        yield Block(line, match[2], match[3], note)


@dataclass
class PageRun:
    """Runs the blocks of a page in a folder.

    Args:
        folder: where the page begins.
        site: where packages that the page installs are made known; not below `folder`.
        transgan: runs its commands.
        quick: whether the words for quick runs are appended.
        show: is called with each command and its seconds.
    """

    folder: Path
    site: Path
    transgan: Transgan
    quick: bool
    show: Callable[[str, float], None] = lambda command, seconds: None
    printed: str = ""
    """What commands have printed since the last block of text."""
    paths: list[Path] = field(default_factory=list)
    """Folders of packages that the page has installed."""
    texts: int = 0
    commands: int = 0

    def run(self, page: str) -> None:
        """Run a page.

        Raises:
            PageError: a command ends otherwise than the page says, or prints something else.
        """
        for block in blocks_of(page):
            if block.words_if("omit") is None:
                try:
                    self._run(block)
                except PageError as error:
                    raise PageError(f"line {block.line}: {error}") from None

    def environment(self) -> dict[str, str]:
        """Return the environment of commands, in which the page's packages are found."""
        path = [str(self.site), *map(str, self.paths), *(each for each in sys.path if each)]
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PATH": programs}

    def _run(self, block: Block) -> None:
        if block.language in ("python", "toml") and (name := _FILE.match(block.text)):
            path = self.folder / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self._command([sys.executable, "-c", block.text], "a script of the page")
        elif block.language == "shell":
            lines = [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
            for number, line in enumerate(lines, 1):
                self._line(line, block.words_if("quick") or "", block.note == "fails" and number == len(lines))
        elif block.language == "text":
            self._compare(block.text)

    def _line(self, line: str, more: str, fails: bool) -> None:
        words, target = shlex.split(line, comments=True), None
        if ">" in words:
            words, target = words[: words.index(">")], words[-1]
        begin, before = time.perf_counter(), len(self.printed)
        self.commands += 1
        if words[0] == "transgan":
            code, printed = self.transgan([*words[1:], *(shlex.split(more) if self.quick else [])], self.folder)
            self.printed += printed
            self._check(line, code, printed, fails)
        elif words[0] == "cd":
            self.folder = (self.folder / words[1]).resolve()
        elif words[:2] == ["pip", "install"]:
            self._install(words[2:])
        elif words[0] == "python":
            self._command([sys.executable, *words[1:]], line, fails)
        elif words[0] in ("pytest", "mypy"):
            self._command([sys.executable, "-m", *words], line, fails)
        else:
            self._command(["bash", "-c", line], line, fails)
        if target is not None:
            (self.folder / target).write_text(self.printed[before:], encoding="utf-8")
            self.printed = self.printed[:before]
        self.show(line, time.perf_counter() - begin)

    def _command(self, words: Sequence[str], line: str, fails: bool = False) -> None:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        self.printed += done.stdout + done.stderr
        self._check(line, done.returncode, done.stdout + done.stderr, fails)

    def _check(self, line: str, code: int, printed: str, fails: bool) -> None:
        if (code != 0) != fails:
            raise PageError(f"'{line}' ended with {code}:\n{printed[-3000:]}")
        if "Traceback" in printed:
            raise PageError(f"'{line}' printed a traceback:\n{printed[-3000:]}")

    def _install(self, words: Sequence[str]) -> None:
        """Make the entry points of a folder's package known, as `pip install -e FOLDER` does."""
        folder = (self.folder / words[-1]).resolve()
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        made = self.site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        made.mkdir(parents=True)
        (made / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["transgan"].items())
        (made / "entry_points.txt").write_text(f"[transgan]\n{points}", encoding="utf-8")
        self.paths.append(folder)

    def _compare(self, quoted: str) -> None:
        self.texts += 1
        rest = _comparable(self.printed)
        for part in re.split(r"\.\.\.", quoted):
            if wanted := _comparable(part):
                _, found, rest = rest.partition(wanted)
                if not found:
                    raise PageError(f"quoted, and not printed:\n{part.strip()}\nprinted:\n{self.printed[-6000:]}")
        self.printed = ""


def _comparable(text: str) -> str:
    """Return a text without what may differ: numbers, colours, where lines are broken, and lines of tables."""
    text = re.sub(r"-?\d+(?:[.,:]\d+)*", "0", _COLOUR.sub("", text))
    return " ".join(re.sub(r"[\u2500-\u257f]", " ", text).split())


def run_in_process(words: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a command line of transgan in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "transgan", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a tutorial in an empty folder.")
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path, help="is made")
    parser.add_argument("--quick", action="store_true", help="with the words for quick runs")
    words = parser.parse_args()
    words.folder.mkdir(parents=True)
    folder = words.folder.resolve()

    def transgan(line: Sequence[str], where: Path) -> tuple[int, str]:
        code, printed = run_in_process(line, where, run.environment())
        print(f"$ transgan {shlex.join(line)}\n{printed}", flush=True)
        return code, printed

    def show(command: str, seconds: float) -> None:
        print(f"# {seconds:.1f} s: {command}", flush=True)

    run = PageRun(folder, folder.with_name(f"{folder.name}.site"), transgan, words.quick, show)
    try:
        run.run(words.page.read_text(encoding="utf-8"))
    except PageError as error:
        sys.exit(f"{words.page}: {error}")


if __name__ == "__main__":
    main()
