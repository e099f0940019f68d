"""Ask the local server, without ever waiting for an answer."""

import json
from urllib.parse import urlencode

from qgis.PyQt.QtCore import QByteArray, QObject, QUrl
from qgis.PyQt.QtNetwork import (
    QNetworkAccessManager,
    QNetworkProxy,
    QNetworkReply,
    QNetworkRequest,
)

STATUS = QNetworkRequest.Attribute.HttpStatusCodeAttribute


class Client(QObject):
    """Requests to one address of this machine, which never go through a proxy."""

    def __init__(self, parent=None):
        """Start without an address; `address` is set when the server has one."""
        super().__init__(parent)
        self.address = ""
        self._manager = QNetworkAccessManager(self)
        self._manager.setProxy(QNetworkProxy(QNetworkProxy.ProxyType.NoProxy))

    def get(self, path, done, failed, **query):
        """Get JSON, or bytes if it is something else.

        Args:
            path: Such as "/api/archive".
            done: Called with the answer.
            failed: Called with what went wrong, in words for the user.
            **query: Parameters; None is left out.

        Returns:
            The reply, which can be aborted.
        """
        return self._follow(self._manager.get(self._request(path, query)), done, failed)

    def post(self, path, body, done, failed, *, name=None, **query):
        """Post a dictionary as JSON, or bytes as a GeoTIFF; otherwise as `get`.

        Args:
            path: Such as "/api/search".
            body: A dictionary or bytes.
            done: As in `get`.
            failed: As in `get`.
            name: The GeoTIFF's name in messages.
            **query: As in `get`.
        """
        request = self._request(path, query)
        kind, content = "image/tiff", body
        if isinstance(body, dict):
            kind, content = "application/json", json.dumps(body).encode()
        request.setHeader(QNetworkRequest.KnownHeaders.ContentTypeHeader, kind)
        if name is not None:
            request.setRawHeader(b"X-File-Name", bytes(QUrl.toPercentEncoding(name)))
        request.setPriority(QNetworkRequest.Priority.HighPriority)  # before pictures
        reply = self._manager.post(request, QByteArray(content))
        return self._follow(reply, done, failed)

    def _request(self, path, query):
        given = {key: value for key, value in query.items() if value is not None}
        text = f"?{urlencode(given)}" if given else ""
        return QNetworkRequest(QUrl(f"{self.address}{path}{text}"))

    def _follow(self, reply, done, failed):
        def finished():
            reply.deleteLater()
            if reply.error() == QNetworkReply.NetworkError.OperationCanceledError:
                return
            content = bytes(reply.readAll())
            status = reply.attribute(STATUS)
            kind = str(reply.header(QNetworkRequest.KnownHeaders.ContentTypeHeader) or "")
            try:
                answer = json.loads(content) if "json" in kind else content
            except ValueError:
                answer = {}
            if status is None:
                failed(
                    f"geohash-rs does not answer ({reply.errorString()}); open the archive again."
                )
            elif int(status) >= 400:
                detail = answer.get("detail") if isinstance(answer, dict) else None
                failed(str(detail or f"geohash-rs answered with HTTP status {int(status)}."))
            else:
                done(answer)

        reply.finished.connect(finished)
        return reply


def abort(replies):
    """Abort requests, and empty their list.

    Args:
        replies: From `Client.get` and `Client.post`; those that were answered may be among them.
    """
    waiting = list(replies)
    replies.clear()
    for reply in waiting:
        try:
            if reply.isRunning():
                reply.abort()
        except RuntimeError:  # Qt has deleted it: it was answered
            continue
