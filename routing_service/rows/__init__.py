"""Files of prompts, scores and battles, read in one way for all commands: path and columns to rows with a place."""
