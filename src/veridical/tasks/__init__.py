"""The jobs on the imaging pathway; each file is a task."""
