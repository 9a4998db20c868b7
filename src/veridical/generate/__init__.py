"""The mathematics of the families: paths, samplers, distillation; arrays in, arrays out."""
