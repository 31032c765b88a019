"""The whole picture through the chain: planned in tiles, kept on disk while it grows, written as a stream."""
