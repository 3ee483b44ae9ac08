"""The core knows no kind of data: no word for images or audio in its code, messages and imports."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import transgan

CORE = Path(transgan.__file__).parent
#: The packages that the core may import, besides Python's own.
IMPORTS = {
    "accelerate", "jinja2", "markupsafe", "numpy", "platformdirs", "pluggy", "psutil", "pydantic", "pydantic_core",
    "rich", "safetensors", "tomlkit", "torch", "transgan", "typer", "typing_extensions",
}  # fmt: skip
#: Singulars; plurals are found too.
WORDS = {
    *("image", "picture", "pixel", "photo", "photograph", "pixelated", "rgb", "png", "jpeg", "jpg", "pil", "camera"),
    *("video", "portrait", "face", "facial", "hair", "skin", "brightness", "hue"),
    *("audio", "sound", "speech", "voice", "speaker", "phone", "phoneme", "recording", "wav", "flac", "waveform"),
    *("mel", "spectrogram", "spectrum", "cepstra", "cepstrum", "pitch", "vocoder", "melody", "f0", "hertz", "ear"),
}
#: A term of the field, whatever the samples are (Shrivastava et al., 2017).
TERM = re.compile(r"\bimage pools?\b", re.IGNORECASE)
#: Files that may contain one, as (file, word): reason.
ALLOWED = {
    ("recipe/schema/data.py", "image"): "the media plugin that a recipe without `data.media` means, by its name",
    ("inference/model_folder.py", "image"): "the same plugin, for imported generators, all of which are for images",
    ("inference/tiling/windows.py", "pixel"): "PyTorch's names of two operations on any plane",
    ("cli/new_plugin.py", "image"): "the media of the container that it writes, by its name",
    ("cli/new_plugin.py", "face"): "the source of the recipes that it writes, by its name",
    ("recipe/upgrade.py", "face"): "the old and new name of a source plugin, in recipes of version 1 of the format",
    ("recipe/upgrade.py", "voice"): "another such name",
    ("reporting/html.py", "image"): "HTML's: the type of a file that has an <img>",
    ("reporting/html.py", "audio"): "HTML's: a kind of file that has a player",
    ("reporting/html.py", "video"): "another such kind",
}
#: Files whose docstrings and help texts may contain one, but whose code may not, as (file, word): reason.
DOCUMENTED = {
    ("api/hooks.py", "face"): "an example of a region detector's name",
    ("api/samples.py", "face"): "the same example",
    ("api/samples.py", "image"): "an example of an object that a media reads",
    ("api/samples.py", "pil"): "the library of that object",
    ("inference/translator.py", "face"): "an example of a region detector's name",
    ("inference/translator.py", "image"): "an example of an object that a media reads",
    ("inference/translator.py", "pil"): "the library of that object",
    ("inference/translator.py", "jpg"): "the file of an example",
    ("inference/translator.py", "photo"): "the same file",
    ("inference/translator.py", "png"): "another file of an example",
    ("training/run.py", "face"): "the name of a recipe in an example",
    ("training/run.py", "jpg"): "the file of an example",
    ("training/run.py", "photo"): "the same file",
    ("cli/import_.py", "image"): "what the generators of other programs translate",
    ("cli/import_.py", "pixel"): "the unit of their size",
}


def words(text: str) -> Iterator[str]:
    """Yield the words in identifiers (snake_case, CamelCase) and in prose, in lower case, as singulars."""
    for word in re.findall(r"(?<![A-Za-z])[A-Za-z]\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text):
        small = word.lower()
        yield small.removesuffix("s") if small.removesuffix("s") in WORDS else small


def test_no_word_for_images_or_audio_is_in_the_core() -> None:
    found: list[str] = []
    allowed: set[tuple[str, str]] = set()
    for path in sorted(CORE.rglob("*.py")):
        name = path.relative_to(CORE).as_posix()
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
            if token.type not in (tokenize.OP, tokenize.NUMBER):
                for word in WORDS.intersection(words(TERM.sub("", token.string))):
                    if (name, word) in ALLOWED or ((name, word) in DOCUMENTED and token.type != tokenize.NAME):
                        allowed.add((name, word))
                    else:
                        found.append(f"{name}:{token.start[0]}: {word}")
    assert found == []
    assert allowed == ALLOWED.keys() | DOCUMENTED.keys()  # no exception that is not needed


def test_the_core_imports_no_plugin_and_no_library_for_images_or_audio() -> None:
    found = set()
    for path in sorted(CORE.rglob("*.py")):
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in each.names] if isinstance(each, ast.Import) else []
            names += [each.module or ""] if isinstance(each, ast.ImportFrom) else []
            packages = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - IMPORTS
            found |= {(path.name, package) for package in packages}
    assert not found


def test_words_are_found_in_names_and_prose() -> None:
    assert set(words("ImageMedia, of_pixels; MELBands f0_hz photos PNG surface")) >= {
        "image", "pixel", "mel", "f0", "photo", "png", "surface",
    }  # fmt: skip
    assert not WORDS.intersection(words("surface interface earlier facet telephoneless"))
