"""memflow-cli: storyboards to long, coherent films."""

__version__ = "0.1.0"
