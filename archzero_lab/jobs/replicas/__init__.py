"""Replicas that lag: what a service or a test suite reads from them that it, or anyone, had already changed."""
