"""Files of prompts, scores and battles, read in the same way for all commands: from a path to rows with a place."""
