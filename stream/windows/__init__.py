"""Feature windows: exact, event-time, duplicate-safe."""
