"""The machine: its devices and memory, and the signals that ask to stop."""
