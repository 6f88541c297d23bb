"""Series and music: forecasts, and densities of what comes next."""
