"""`python -m transgan`: the same as the command `transgan`."""

from transgan.cli import main

main()
