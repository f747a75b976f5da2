"""One whole repository to the Hub, verified."""
