"""A film on disk: shot chunk by chunk, resumable, finished by a rename."""
