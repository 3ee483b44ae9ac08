"""`transgan faces`: faces cut out of photographs and clips."""

from pathlib import Path

import typer

app = typer.Typer(help="Cut faces out of photographs and clips.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def faces() -> None:
    """Cut faces out of photographs and clips."""


@app.command(
    epilog="\b\nExamples:\n  transgan faces extract photos --out faces\n"
    "  transgan faces extract clip.mp4 --every 10 --which longest --size 256"
)
def extract(
    inputs: list[Path] = typer.Argument(help="Photographs, clips, and folders of them, which are searched."),  # noqa: B008
    out: Path = typer.Option("faces", "--out", "-o", metavar="FOLDER", help="The folder for the faces."),  # noqa: B008
    which: str = typer.Option(
        "largest",
        "--which",
        metavar="WHICH",
        help="largest: the largest face of each frame; longest: the face that is there in most frames of a clip; all.",
    ),
    every: int = typer.Option(1, "--every", min=1, metavar="N", help="Of clips, keep faces of every Nth frame only."),
    min_size: float = typer.Option(64, "--min-size", min=8, metavar="PIXELS", help="Skip smaller faces."),
    min_sharpness: float = typer.Option(
        None, "--min-sharpness", min=0, metavar="X", help="Skip faces that are more blurred; 0 keeps all."
    ),
    min_difference: int = typer.Option(
        3,
        "--min-difference",
        min=0,
        max=64,
        metavar="BITS",
        help="Skip faces whose fingerprint differs in fewer of 64 bits from that of one before; 0 keeps all.",
    ),
    size: int = typer.Option(
        None, "--size", min=16, metavar="PIXELS", help="The side of the pictures; by default as large as each face is."
    ),
    margin: float = typer.Option(
        0.0,
        "--margin",
        min=-0.25,
        max=2,
        metavar="SHARE",
        help="What is added on each side, as a share of the side of the crop.",
    ),
    ending: str = typer.Option(".png", "--ending", metavar=".ENDING", help="The file type: .png, or .jpg."),
    weights: str = typer.Option(None, "--weights", metavar="FILE", help="YuNet's weights; see transgan plugins faces."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace pictures that exist; inputs never are."),
) -> None:
    """Find faces, and write those that are fit for training.

    Each is cut out upright, as translate --faces does. With --quiet, the folder for the faces is printed.
    """
    from transgan_faces.extraction import SHARP, Extraction, run

    chosen = Extraction(
        which=which,
        every=every,
        min_size=min_size,
        min_sharpness=SHARP if min_sharpness is None else min_sharpness,
        min_difference=min_difference,
        size=size,
        margin=margin,
        ending=ending,
        weights=weights,
        overwrite=overwrite,
    )
    run(inputs, out, chosen)
