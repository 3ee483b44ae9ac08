"""`transgan info`: describe a model."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command()(info)


def info(
    model: Path = typer.Argument(help="A model folder, or the folder of a run or a checkpoint."),
    step: int = typer.Option(None, "--step", min=0, metavar="N", help="Of a run, use the checkpoint of step N."),
) -> None:
    """Describe a model: its translations, attributes, networks, media and plugins."""
    from transgan.data.attributes import describe_attribute
    from transgan.inference.translator import Translator
    from transgan.plan.conditioning import count_parameters
    from transgan.text import show

    translator = Translator.from_pretrained(model, "cpu", step)
    config, plan = translator.config, translator.plan
    origin = f"after {config['steps']} steps" if config.get("steps") else "imported"
    show(f"{plan.recipe.name}, {origin}, by TransGAN {config.get('transgan', '?')}")
    show("translations")
    for translation in translator.translations:
        show(f"  {translation}")
    if plan.recipe.attributes:
        show("attributes")
    for name, attribute in plan.recipe.attributes.items():
        defaults = ", ".join(f"{domain} {values[name]}" for domain, values in translator.typical.items())
        show(f"  {name}: {describe_attribute(attribute)}; by default {defaults}")
    show("networks")
    for name, network in translator.networks.items():
        count = count_parameters(network)
        show(f"  {name}: {plan.networks[name].use}, {count:,} parameters")
    show("media")
    kinds: dict[str, list[str]] = {}
    for name, media in translator.media.items():
        kind = f"{plan.media[name].use}, {'x'.join(map(str, media.space))}, {media.channels} channels"
        kinds.setdefault(kind, []).append(name)
    for kind, names in kinds.items():
        show(f"  {kind}" if len(kinds) == 1 else f"  {', '.join(names)}: {kind}")
    show("plugins")
    for package, version in config.get("plugins", {}).items():
        show(f"  {package} {version}")
