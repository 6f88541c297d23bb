"""Speech: recognition without alignment."""
