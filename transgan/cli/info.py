"""`transgan info`: describe a model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from transgan.cli import completion
from transgan.cli.options import Json, examples
from transgan.cli.output import show_json
from transgan.cli.run import PluginFiles

if TYPE_CHECKING:
    from transgan.inference.translator import Translator


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan info runs/cut-1", "transgan info runs/cut-1/model --json"))(info)


def info(
    model: Path = typer.Argument(
        metavar="MODEL",
        help="A model folder, or the folder of a run or a checkpoint.",
        autocompletion=completion.models,
    ),
    step: int = typer.Option(None, "--step", min=0, metavar="N", help="Of a run, use the checkpoint of step N."),
    plugin: list[Path] = PluginFiles,
    json_: bool = Json,
) -> None:
    """Describe a model.

    Prints its translations, attributes, networks, media and plugins.
    """
    from transgan.inference.places import find_model
    from transgan.plugin_files import use_files
    from transgan.text import show

    find_model(model, step)  # without torch, so that a wrong name is reported at once
    use_files(plugin)

    from transgan.inference.translator import Translator

    found = examine(Translator.from_pretrained(model, "cpu", step))
    if json_:
        show_json(found)
    else:
        show("\n".join(lines_of(found)))


def examine(translator: "Translator") -> dict[str, Any]:
    """Return what `--json` prints of a model."""
    from transgan.data.attributes import describe_attribute
    from transgan.plan.conditioning import count_parameters

    config, plan = translator.config, translator.plan
    return {
        "model": plan.recipe.name,
        "steps": config.get("steps") or None,
        "transgan": config.get("transgan"),
        "translations": [
            {"translation": str(each), "task": each.task, "from": each.source, "to": each.target}
            for each in translator.translations
        ],
        "attributes": {
            name: {
                "values": describe_attribute(attribute),
                "typical": {domain: values[name] for domain, values in translator.typical.items()},
            }
            for name, attribute in plan.recipe.attributes.items()
        },
        "networks": {
            name: {"use": plan.networks[name].use, "parameters": count_parameters(network)}
            for name, network in translator.networks.items()
        },
        "media": {
            name: {"use": plan.media[name].use, "space": list(media.space), "channels": media.channels}
            for name, media in translator.media.items()
        },
        "plugins": config.get("plugins", {}),
    }


def lines_of(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `examine` has found, as lines for people."""
    origin = f"after {found['steps']} steps" if found["steps"] else "imported"
    yield f"{found['model']}, {origin}, by TransGAN {found['transgan'] or '?'}"
    yield "translations"
    for each in found["translations"]:
        yield f"  {each['translation']}"
    if found["attributes"]:
        yield "attributes"
    for name, attribute in found["attributes"].items():
        defaults = ", ".join(f"{domain} {value}" for domain, value in attribute["typical"].items())
        yield f"  {name}: {attribute['values']}; by default {defaults}"
    yield "networks"
    for name, network in found["networks"].items():
        yield f"  {name}: {network['use']}, {network['parameters']:,} parameters"
    yield "media"
    kinds: dict[str, list[str]] = {}
    for name, media in found["media"].items():
        kind = f"{media['use']}, {'x'.join(map(str, media['space']))}, {media['channels']} channels"
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        yield f"  {kind}" if len(kinds) == 1 else f"  {', '.join(names)}: {kind}"
    yield "plugins"
    for package, version in found["plugins"].items():
        yield f"  {package} {version}"
