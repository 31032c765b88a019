"""`python -m chain_of_zoom`: the same as `coz`."""

from chain_of_zoom.cli.app import main

if __name__ == "__main__":
    main()
