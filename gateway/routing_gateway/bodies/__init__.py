"""Request bodies: decoded, and read as far as it takes to know where they are to go."""
