"""The one error that handlers raise."""


class Refused(Exception):
    """A request that can't be granted: an HTTP status and a sentence for the person who asked."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
