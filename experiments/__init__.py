"""The scripts: each a frozen config and a main; `python -m experiments --help` lists them."""
