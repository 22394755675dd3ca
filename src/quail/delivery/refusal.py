"""How a delivery ends that does not succeed."""


class Refusal(Exception):  # noqa: N818  it is an answer, not an error of this program
    """The delivery ends here with this report."""

    def __init__(self, letter: bytes, text: bytes) -> None:
        """Letter and text of the report."""
        super().__init__(letter, text)
        self.letter = letter
        self.text = text
