"""What an image that is to be made depends on: one condition a file, each with its encoder."""
