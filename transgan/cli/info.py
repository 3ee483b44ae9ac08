"""`transgan info`: tells what a model is."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command()(info)


def info(model: Path = typer.Argument(help="A model folder, or the folder of a run.")) -> None:
    """Tell what a model is: what it translates, its networks, its size, its plugins."""
    from transgan.translator import Translator

    translator = Translator.from_pretrained(model, "cpu")
    config, plan = translator.config, translator.plan
    print(f"{plan.recipe.name}, after {config.get('steps', '?')} steps, by TransGAN {config.get('transgan', '?')}")
    print("translations")
    for translation in translator.translations:
        print(f"  {translation}")
    print("networks")
    for name, network in translator.networks.networks.items():
        count = sum(p.numel() for p in network.parameters())
        print(f"  {name}: {plan.networks[name].use}, {count:,} parameters")
    print(f"media\n  {plan.recipe.data.media.use}, {'x'.join(map(str, translator.media.space))}, {translator.media.channels} channels")
    print("plugins")
    for package, version in config.get("plugins", {}).items():
        print(f"  {package} {version}")
