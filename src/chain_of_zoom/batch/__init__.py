"""Many zooms in one go: what to do, doing it, and the page that shows it; sets of pictures."""
