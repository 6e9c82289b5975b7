"""Azure on a laptop: the emulators, the functions host and the demo. Never deployed."""
