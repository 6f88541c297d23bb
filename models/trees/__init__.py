"""Models of constituency trees."""
