"""The command line: one file a command. Thin: parse, call, print."""
