"""`python -m transgan`: the same as `transgan`."""

import sys


def main() -> None:
    """Run a command; an interrupt is one line from the start, also while packages are imported."""
    try:
        from transgan.launcher import end_without_launcher

        end_without_launcher()
        from transgan.cli import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
