"""Show the address of an archive in object storage without the keys that it may carry."""

from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

__all__ = ["shown", "without_keys"]

HIDDEN = "***"


def shown(url: str) -> str:
    """Return an address for messages, names and logs.

    Args:
        url: Such as "s3://key:secret@bucket/archive" or "https://host/archive?signature=...".

    Returns:
        The address, with the user's part and the query hidden.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a damaged host, which the file system will report
        return url.partition("?")[0].rpartition("@")[2]
    if "@" not in parts.netloc and not parts.query:
        return url
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{HIDDEN}@{host}" if "@" in parts.netloc else host
    query = HIDDEN if parts.query else ""
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def without_keys(text: str, url: str) -> str:
    """Hide in a text what an address keeps secret, since errors of file systems quote addresses.

    Args:
        text: An error's message.
        url: The address as the user gave it.

    Returns:
        The text.
    """
    if shown(url) == url:
        return text
    text = text.replace(url, shown(url))
    user, _, query = url.partition("://")[2].rpartition("@")[0], *url.partition("?")[1:]
    values = [value for _, value in parse_qsl(query)]
    secrets = {*user.split(":"), *values, *map(unquote, values), user, query} - {""}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
