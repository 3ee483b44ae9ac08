"""`python -m transgan`: the same as `transgan`."""

from transgan.cli import main

main()
