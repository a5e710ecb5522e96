"""Text from file names and labels, made safe to show, and words that several places use."""


def printable(text: str) -> str:
    """Return text with everything that could steer a terminal or a page shown as an escape.

    Parameters
    ----------
    text : str
        Such as a file name, which may hold any character, and bytes that are not UTF-8.

    Returns
    -------
    str
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def score_name(head: str) -> str:
    """Return what the scores of a similarity head are called.

    Parameters
    ----------
    head : str
        `Head.kind`.

    Returns
    -------
    str
        "cosine", or "score" of a learned head: it is no cosine.
    """
    return "cosine" if head == "cosine" else "score"
