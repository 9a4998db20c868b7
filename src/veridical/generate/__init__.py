"""The mathematics of the families: paths, samplers, guidance, consistency; arrays in, arrays out."""
