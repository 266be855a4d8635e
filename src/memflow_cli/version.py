"""The version, apart from the front door: what a film records, without importing all that the package offers."""

__version__ = "0.1.0"
