"""`transgan info`: describe a model."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command()(info)


def info(model: Path = typer.Argument(help="A model folder, or the folder of a run.")) -> None:
    """Describe a model: its translations, attributes, networks, media and plugins."""
    from transgan.data.attributes import describe_attribute
    from transgan.inference.translator import Translator

    translator = Translator.from_pretrained(model, "cpu")
    config, plan = translator.config, translator.plan
    origin = f"after {config['steps']} steps" if config.get("steps") else "imported"
    print(f"{plan.recipe.name}, {origin}, by TransGAN {config.get('transgan', '?')}")
    print("translations")
    for translation in translator.translations:
        print(f"  {translation}")
    if plan.recipe.attributes:
        print("attributes")
    for name, attribute in plan.recipe.attributes.items():
        defaults = ", ".join(f"{domain} {values[name]}" for domain, values in translator.typical.items())
        print(f"  {name}: {describe_attribute(attribute)}; by default {defaults}")
    print("networks")
    for name, network in translator.networks.items():
        count = sum(p.numel() for p in network.parameters())
        print(f"  {name}: {plan.networks[name].use}, {count:,} parameters")
    media = translator.media
    print(f"media\n  {plan.recipe.data.media.use}, {'x'.join(map(str, media.space))}, {media.channels} channels")
    print("plugins")
    for package, version in config.get("plugins", {}).items():
        print(f"  {package} {version}")
