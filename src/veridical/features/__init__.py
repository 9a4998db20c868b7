"""Feature extractors: an image in, a row of numbers out; none needs a download."""
