"""Storyboards that others write, one file per format. Each becomes a draft: the values that our own file would hold."""
