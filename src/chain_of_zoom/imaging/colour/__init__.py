"""Colour: what a file claims (`claims`), what that means (`spaces`, `profiles`, `hdr`), grey, colour transfer."""
