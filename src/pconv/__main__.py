"""The program `pconv`, also as `python -m pconv`, which torchrun starts as `torchrun -m pconv train ...`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it the same way while it is still being imported."""
    try:
        from pconv import cli
    except KeyboardInterrupt:
        print("pconv: error: interrupted", file=sys.stderr)
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
