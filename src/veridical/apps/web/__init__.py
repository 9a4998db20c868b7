"""The web app: a viewer and the jobs of Veridical in a browser, on this machine alone."""
