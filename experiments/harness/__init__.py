"""Run folders, options, locks, processes and errors: nothing here knows what is computed."""
