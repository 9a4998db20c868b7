"""Plain modules: no files, no physics of their own."""
