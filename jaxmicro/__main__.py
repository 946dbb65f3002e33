"""`python -m jaxmicro` is the command line."""

from jaxmicro.cli.main import program

program()
