"""The models: what is known of each, where its files are, and how they become a backbone."""
