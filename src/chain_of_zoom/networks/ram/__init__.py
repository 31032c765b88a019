"""RAM, the tagger behind the published "dape" prompts."""
