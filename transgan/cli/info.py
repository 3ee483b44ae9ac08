"""`transgan info`: tells what a model is."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command()(info)


def info(model: Path = typer.Argument(help="A model folder, or the folder of a run.")) -> None:
    """Tell what a model is: what it translates, its networks, its size, its plugins."""
    from transgan.data.attributes import described
    from transgan.translator import Translator

    translator = Translator.from_pretrained(model, "cpu")
    config, plan = translator.config, translator.plan
    made = f"after {config['steps']} steps" if config.get("steps") else "imported"
    print(f"{plan.recipe.name}, {made}, by TransGAN {config.get('transgan', '?')}")
    print("translations")
    for translation in translator.translations:
        print(f"  {translation}")
    if plan.recipe.attributes:
        print("attributes")
    for name, attribute in plan.recipe.attributes.items():
        middles = ", ".join(f"{domain} {known[name]}" for domain, known in translator.middles.items())
        print(f"  {name}: {described(attribute)}; by default {middles}")
    print("networks")
    for name, network in translator.networks.networks.items():
        count = sum(p.numel() for p in network.parameters())
        print(f"  {name}: {plan.networks[name].use}, {count:,} parameters")
    media = translator.media
    print(f"media\n  {plan.recipe.data.media.use}, {'x'.join(map(str, media.space))}, {media.channels} channels")
    print("plugins")
    for package, version in config.get("plugins", {}).items():
        print(f"  {package} {version}")
