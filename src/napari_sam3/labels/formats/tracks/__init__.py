"""Label images through time as tracks, and the files that other programs keep tracks in."""
