"""`python -m memflow_cli` is the command `memflow`, for where it is not on the path."""

from memflow_cli.cli.app import main

if __name__ == "__main__":
    main()
