"""How theatre reads: from a storyboard's prompts, in plain English, to captions as its transformer was trained on."""
