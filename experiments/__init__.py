"""One folder per study; `python -m experiments.STUDY.run` from the repository root does it again."""
