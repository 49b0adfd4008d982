"""Users who send a team's own requests and wait for the answers; the lab writes the file that these are drawn from."""

from __future__ import annotations

from locust import task
from portfolio_users import Person, next_calls, send


class RequestUser(Person):
    """Sends requests by their weights, thinking between them."""

    @task
    def ask(self) -> None:
        """One request."""
        for call in next_calls(self.random):
            send(self, call)
