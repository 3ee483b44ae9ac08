"""The core knows no kind of data: no word of pictures or sounds in its code, its texts or what it imports."""

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
    "accelerate", "numpy", "platformdirs", "pluggy", "psutil", "pydantic", "pydantic_core", "rich", "safetensors",
    "torch", "transgan", "typer",
}  # fmt: skip
#: Singular; a plural counts too.
WORDS = {
    *("image", "picture", "pixel", "photo", "photograph", "pixelated", "rgb", "png", "jpeg", "jpg", "pil", "camera"),
    *("video", "portrait", "face", "facial", "hair", "skin", "brightness", "hue"),
    *("audio", "sound", "speech", "voice", "speaker", "phone", "phoneme", "recording", "wav", "flac", "waveform"),
    *("mel", "spectrogram", "spectrum", "cepstra", "cepstrum", "pitch", "vocoder", "melody", "f0", "hertz", "ear"),
}
#: Lines that may hold one, as (file, word) -> why.
ALLOWED = {
    ("recipe/schema.py", "image"): "the media plugin that a recipe without `data.media` means, by its name",
    (
        "model.py",
        "image",
    ): "the same plugin, for generators that other programs have saved: all of them are of that kind",
    ("runs/report.py", "image"): "HTML's: the type of a file that has an <img>, and a property of its style",
    ("runs/report.py", "pixelated"): "a value of that property",
}


def words(text: str) -> Iterator[str]:
    """The words in identifiers (snake_case, CamelCase) and in prose, in small letters and without a plural's s."""
    for word in re.findall(r"(?<![A-Za-z])[A-Za-z]\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text):
        small = word.lower()
        yield small.removesuffix("s") if small.removesuffix("s") in WORDS else small


def test_no_word_of_pictures_or_sounds_is_in_the_core() -> None:
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(CORE.rglob("*.py")):
        name = path.relative_to(CORE).as_posix()
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
            if token.type not in (tokenize.OP, tokenize.NUMBER):
                for word in WORDS.intersection(words(token.string)):
                    found.setdefault((name, word), []).append(f"{name}:{token.start[0]}: {word}")
    assert [place for key, places in found.items() if key not in ALLOWED for place in places] == []
    assert found.keys() == ALLOWED.keys()  # what needs no exception any longer has none


def test_the_core_imports_no_plugin_and_no_library_of_pictures_or_sounds() -> None:
    found = set()
    for path in sorted(CORE.rglob("*.py")):
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in each.names] if isinstance(each, ast.Import) else []
            names += [each.module or ""] if isinstance(each, ast.ImportFrom) else []
            packages = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - IMPORTS
            found |= {(path.name, package) for package in packages}
    assert not found


def test_words_are_taken_out_of_names_and_prose() -> None:
    assert set(words("ImageMedia, of_pixels; MELBands f0_hz photos PNG surface")) >= {
        "image", "pixel", "mel", "f0", "photo", "png", "surface",
    }  # fmt: skip
    assert not WORDS.intersection(words("surface interface earlier facet telephoneless"))
