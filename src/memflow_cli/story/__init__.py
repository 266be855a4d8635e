"""The storyboard: read, checked, resolved, and planned in chunks and frames. No torch."""
