"""python -m archzero_lab: what ./lab hands over to."""

from archzero_lab.cli import main

if __name__ == "__main__":
    main()
