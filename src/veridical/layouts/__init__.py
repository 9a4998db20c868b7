"""How public data sets lie on disk: one file a layout, each with its readers."""
