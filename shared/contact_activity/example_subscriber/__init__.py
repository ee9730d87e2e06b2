"""Shows how to subscribe to the events, by a worked example."""
