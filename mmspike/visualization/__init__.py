"""Pictures, as files and in the terminal."""
