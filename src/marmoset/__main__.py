"""`python -m marmoset`: the command line."""

from marmoset.cli import main

if __name__ == "__main__":
    main()
