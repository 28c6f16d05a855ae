"""`python -m pconv`, which torchrun starts as `torchrun -m pconv train ...`."""

from pconv.cli import main

main()
