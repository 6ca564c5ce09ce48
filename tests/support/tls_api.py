"""A scripted API that speaks TLS: `RawApi` with a certificate."""

import ssl

from tests.support.raw_http import Conversation, RawApi


class TlsApi(RawApi):
    """
    A scripted API that speaks TLS, as long as its caller trusts it.

    Args:
        context: The server's side of TLS.
        host: An address of loopback.
        port: 0 picks a free one.
    """

    def __init__(
        self, context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(host, port)
        self._context = context

    @property
    def base_url(self) -> str:
        """What a sidecar's `base_url` is set to."""
        return f"https://127.0.0.1:{self.port}/v1"

    def _serve(self, conversation: Conversation) -> None:
        try:
            conversation.sock = self._context.wrap_socket(
                conversation.sock, server_side=True
            )
        except OSError:  # ssl.SSLError is one
            conversation.sock.close()
            return
        super()._serve(conversation)
