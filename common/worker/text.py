"""Repair text that a stream has cut."""


def paired(text: str) -> str:
    """Join the halves of characters that came in two chunks; a half alone becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
